"""Settings of the console: who may sign in, and for how long."""

from typing import Annotated, Literal

from msgspec import Meta, Struct, field

Role = Literal["reviewer", "lead", "auditor", "author", "admin"]


def _about(text: str) -> Meta:
    return Meta(description=text)


class GrantSettings(Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """What members of a group of the identity provider may do."""

    group: Annotated[str, Meta(min_length=1, max_length=200), _about("a value of the groups claim")]
    roles: Annotated[tuple[Role, ...], _about("roles in the console")] = ()
    tenants: Annotated[tuple[str, ...], _about("tenants whose cases and events they see")] = ()


class OidcSettings(Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """Sign-in at an OpenID provider (authorization code with PKCE)."""

    issuer: Annotated[str, _about("the provider's issuer, exactly as it writes it; empty leaves OIDC out")] = ""
    client_id: Annotated[str, _about("the console's id at the provider")] = ""
    client_secret: Annotated[
        str, _about("`env:NAME` or `file:/path`; empty for a public client; a literal one is refused")
    ] = ""
    label: Annotated[str, Meta(max_length=60), _about("what the sign-in button says")] = "Sign in with single sign-on"
    scopes: Annotated[tuple[str, ...], _about("scopes to ask for")] = ("openid", "profile")
    # Subjects are never given to another person. Who reviews and also has API keys needs the same name in both.
    user_claim: Annotated[
        str, _about("the claim that names a person; the same name as `--user` of their API keys keeps duties apart")
    ] = "sub"
    groups_claim: Annotated[str, _about("the claim with the groups of a person")] = "groups"
    grants: tuple[GrantSettings, ...] = ()
    timeout_s: Annotated[float, Meta(gt=0), _about("for one call of the provider")] = 10.0


class ConsoleSettings(Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """The web pages at `/console`."""

    enabled: Annotated[bool, _about("whether `/console` is served")] = False
    public_url: Annotated[
        str, _about("scheme and host under which browsers see the gateway; without it only loopback is served")
    ] = ""
    local_accounts: Annotated[bool, _about("whether accounts of `gateway console user` may sign in")] = True
    session_idle_s: Annotated[int, Meta(ge=60), _about("a session ends after so long without a request")] = 30 * 60
    session_s: Annotated[int, Meta(ge=60), _about("a session ends after so long, whatever happens")] = 8 * 3600
    currency: Annotated[str, Meta(max_length=8), _about("what prices of `models` are given in")] = "USD"
    oidc: OidcSettings = field(default_factory=OidcSettings)
