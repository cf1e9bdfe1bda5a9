"""Style sheet and scripts: ours, and htmx from an installed package, each under a name with its hash.

htmx 2 and not 4, because it can be told not to evaluate expressions (`allowEval`), keeps no page in the browser's
storage (`historyCacheSize`) and needs no inline style. Its file is checked against the hash of the version that was
read; another one is not served.
"""

import hashlib
from functools import lru_cache
from importlib.metadata import PackageNotFoundError, files
from pathlib import Path
from typing import Final

from msgspec import Struct

from gateway.domain.errors import ConfigurationError

HTMX_SHA256: Final = "71ea67185bfa8c98c39d31717c6fce5d852370fcdfd129db4543774d3145c0de"
_PACKAGE: Final = "django-htmx"
_HTMX: Final = "django_htmx/static/django_htmx/htmx-2.min.js"
_FOLDER: Final = Path(__file__).parent / "static"
_TYPES: Final = {".css": "text/css; charset=utf-8", ".js": "text/javascript; charset=utf-8", ".svg": "image/svg+xml"}


class Asset(Struct, frozen=True):
    """A file to serve. `name` changes with its content, so that browsers may keep it for good."""

    name: str
    content: bytes
    type: str
    etag: str


class Assets(Struct, frozen=True):
    """All files: by the name they are served under, and the served name of each plain one (`console.css`)."""

    served: dict[str, Asset]
    names: dict[str, str]


@lru_cache(maxsize=1)
def load_assets() -> Assets:
    """Raises `ConfigurationError` if htmx is missing or another than the known one."""
    contents = {path.name: path.read_bytes() for path in sorted(_FOLDER.iterdir()) if path.suffix in _TYPES}
    contents["htmx.js"] = _htmx()
    assets = {plain: _asset(plain, content) for plain, content in contents.items()}
    return Assets({asset.name: asset for asset in assets.values()}, {plain: one.name for plain, one in assets.items()})


def _asset(plain: str, content: bytes) -> Asset:
    digest = hashlib.sha256(content).hexdigest()
    path = Path(plain)
    return Asset(f"{path.stem}.{digest[:12]}{path.suffix}", content, _TYPES[path.suffix], f'"{digest[:32]}"')


def _htmx() -> bytes:
    try:
        found = [file for file in files(_PACKAGE) or () if file.as_posix() == _HTMX]
    except PackageNotFoundError:
        found = []
    path = Path(str(found[0].locate())) if found else None
    if path is None or not path.is_file():
        raise ConfigurationError(f"the console needs htmx: install `{_PACKAGE}`, or set `console.enabled: false`")
    content = path.read_bytes()
    if hashlib.sha256(content).hexdigest() != HTMX_SHA256:
        raise ConfigurationError(f"htmx in `{_PACKAGE}` is not the known one: install the locked version")
    return content
