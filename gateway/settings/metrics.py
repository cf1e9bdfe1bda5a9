"""Settings of `/metrics`."""

from typing import Annotated, Literal

from msgspec import Meta, Struct


class MetricsSettings(Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """Who may read the counts of this node."""

    access: Annotated[
        Literal["role", "loopback", "off"],
        Meta(
            description="`role` asks for a key with role `admin` or `monitor`; `loopback` answers this machine, "
            "proxies on it included, without a key"
        ),
    ] = "role"
