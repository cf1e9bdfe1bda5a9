"""A caller that an author or admin chooses to look at the gateway as: read from a form, and bounded by who they are."""

import re
from collections.abc import Mapping
from typing import Any, Final

from msgspec import Struct

from gateway.console.parts import Parts
from gateway.console.roles import Role
from gateway.console.sessions import Session
from gateway.domain.errors import RequestError
from gateway.domain.principal import Principal
from gateway.identity.authenticator import principal_ref

_NAME: Final = re.compile(r"[\w.@:-]{1,100}")
_MOST_GROUPS: Final = 50


class Caller(Struct, frozen=True, kw_only=True):
    """Tenant, application, groups and model of a request."""

    tenant: str = ""
    app: str = "console"
    groups: tuple[str, ...] = ()
    model: str = ""


def caller_of(asked: Mapping[str, Any], parts: Parts, session: Session) -> Caller:
    """The caller that a form names. Raises `RequestError` for a tenant that is not the person's, and for what is no
    name."""
    tenant = str(asked.get("tenant") or (session.tenants[0] if session.tenants else ""))
    if tenant not in session.tenants:
        raise RequestError("there is no such tenant", code="tenant_not_found", status=404)
    models = model_names(parts)
    groups = tuple(sorted({one for one in re.split(r"[\s,]+", str(asked.get("groups", ""))) if one}))
    caller = Caller(
        tenant=tenant,
        app=str(asked.get("app") or "console").strip(),
        groups=groups,
        model=str(asked.get("model") or (models[0] if models else "")),
    )
    if not all(_NAME.fullmatch(name) for name in (caller.app, *groups)) or len(groups) > _MOST_GROUPS:
        raise RequestError("application and groups are plain names: letters, digits and `.@:-_`", code="caller_name")
    if caller.model not in models:
        raise RequestError("there is no such model", code="model_not_found", status=404)
    return caller


def model_names(parts: Parts) -> tuple[str, ...]:
    return tuple(model.name for model in parts.settings.models)


def principal_as(caller: Caller, parts: Parts, session: Session) -> Principal:
    """The person themselves, through that application and with those groups.

    INVARIANT I7: nobody sees a passage through a form. Groups that the person does not hold count for admins alone,
    who can open every source; for others they are refused. Raises `RequestError`.
    """
    foreign = frozenset(caller.groups) - session.groups
    if foreign and Role.ADMIN not in session.roles:
        words = ", ".join(f"`{name}`" for name in sorted(foreign))
        raise RequestError(
            f"you are not in {words}: only an admin tries groups that they are not in",
            code="group_not_held",
            status=403,
        )
    return Principal(
        tenant=caller.tenant,
        app=caller.app,
        user=session.account,
        groups=frozenset(caller.groups),
        auth="console",
        ref=principal_ref(parts.ref_key, tenant=caller.tenant, app=caller.app, user=session.account),
    )
