"""Who asks: the result of authentication, and the only source of access decisions (I7)."""

from msgspec import Struct


class Principal(Struct, frozen=True, kw_only=True):
    """The authenticated caller.

    `groups` are the access groups of retrieval and of policies; a passage labelled with none of them is
    invisible. `roles` open the gateway's own interfaces (`reviewer`, `auditor`, `admin`), never a passage.
    `models` restricts which models the caller may name; `("*",)` means all. `ref` is a stable keyed
    pseudonym of tenant, app and user that may appear in logs and audit events.
    """

    tenant: str
    app: str
    user: str
    groups: frozenset[str]
    roles: frozenset[str] = frozenset()
    models: tuple[str, ...] = ("*",)
    auth: str  # "key" | "oidc"
    key_id: str = ""  # public id of the API key, "" for other kinds of authentication
    ref: str
    requests_per_minute: int = 0  # 0: the configured default
