"""Before any test module: `gateway` switches off what its dependencies would send (see its first lines)."""

import gateway  # noqa: F401
