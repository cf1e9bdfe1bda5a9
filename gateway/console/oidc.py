"""Sign-in at an OpenID provider: authorization code flow with PKCE (RFC 7636, OpenID Connect Core 1.0).

What is checked, in this order: the state belongs to this browser and is used once; the answer comes from the issuer
that was asked (RFC 9207); the ID token is signed by a key of the issuer with an asymmetric algorithm; `iss`, `aud`,
`azp`, `exp`, `iat` and `nonce` fit. Only then is a claim read.
"""

import base64
import hashlib
import secrets
from collections.abc import Callable, Mapping
from datetime import datetime, timedelta
from typing import Any, Final
from urllib.parse import urlencode, urlsplit

import aiohttp
import msgspec
from joserfc import jwt
from joserfc.errors import JoseError
from joserfc.jwk import KeySet
from joserfc.jwt import JWTClaimsRegistry
from msgspec import Struct

from gateway.console.roles import Role
from gateway.console.sessions import Entrant
from gateway.domain.errors import GuardUnavailable, RequestError
from gateway.domain.text import Secret
from gateway.settings import OidcSettings

ALGORITHMS: Final = ("RS256", "RS384", "RS512", "PS256", "PS384", "PS512", "ES256", "ES384", "ES512", "Ed25519")
_LEEWAY_S: Final = 60
_KEYS_FOR: Final = timedelta(minutes=10)
_MOST_BYTES: Final = 1_000_000
_LOOPBACK: Final = frozenset({"127.0.0.1", "::1", "localhost"})


class Attempt(Struct, frozen=True, kw_only=True):
    """A sign-in under way. `url` is where the browser goes; the rest must be remembered for the answer."""

    url: str
    state: Secret
    nonce: Secret
    verifier: Secret


class _Provider(Struct, frozen=True, kw_only=True):
    """The part of the discovery document that is used (OpenID Connect Discovery 1.0)."""

    issuer: str
    authorization_endpoint: str
    token_endpoint: str
    jwks_uri: str
    authorization_response_iss_parameter_supported: bool = False


class OidcClient:
    """For one event loop. `redirect_uri` is the console's own address that the provider sends browsers back to."""

    def __init__(
        self,
        settings: OidcSettings,
        *,
        secret: Secret | None,
        redirect_uri: str,
        clock: Callable[[], datetime],
    ) -> None:
        self._settings = settings
        self._secret = secret
        self._redirect_uri = redirect_uri
        self._clock = clock
        self._provider: _Provider | None = None
        self._keys: KeySet | None = None
        self._keys_until: datetime | None = None

    async def begin(self) -> Attempt:
        """Raises `GuardUnavailable` while the provider cannot be reached."""
        provider = await self._discover()
        state, nonce, verifier = (Secret(secrets.token_urlsafe(32)) for _ in range(3))
        challenge = base64.urlsafe_b64encode(hashlib.sha256(verifier.reveal().encode()).digest()).rstrip(b"=").decode()
        query = {
            "response_type": "code",
            "client_id": self._settings.client_id,
            "redirect_uri": self._redirect_uri,
            "scope": " ".join(dict.fromkeys(("openid", *self._settings.scopes))),
            "state": state.reveal(),
            "nonce": nonce.reveal(),
            "code_challenge": challenge,
            "code_challenge_method": "S256",
        }
        separator = "&" if urlsplit(provider.authorization_endpoint).query else "?"
        url = provider.authorization_endpoint + separator + urlencode(query)
        return Attempt(url=url, state=state, nonce=nonce, verifier=verifier)

    async def finish(self, answer: Mapping[str, str], *, nonce: str, verifier: str) -> Entrant:
        """Whom the provider's answer vouches for, with what the settings grant their groups; the caller has checked the
        state. Raises `RequestError` with a stable code for anything that does not fit, and `GuardUnavailable`."""
        provider = await self._discover()
        said = answer.get("iss", "")
        if said != provider.issuer and (said or provider.authorization_response_iss_parameter_supported):
            raise _failed("issuer", "the answer comes from another provider than the one that was asked")
        if not answer.get("code"):
            raise _failed("denied", "the provider did not sign you in")
        token = await self._token(provider, answer["code"], verifier)
        return self._identity(await self._claims(provider, token, nonce))

    async def _token(self, provider: _Provider, code: str, verifier: str) -> str:
        form = {
            "grant_type": "authorization_code",
            "code": code,
            "redirect_uri": self._redirect_uri,
            "code_verifier": verifier,
            "client_id": self._settings.client_id,
        }
        if self._secret is not None:
            form["client_secret"] = self._secret.reveal()
        status, body = await self._call("POST", provider.token_endpoint, form)
        token = body.get("id_token")
        if status != 200 or not isinstance(token, str):
            raise _failed("token", "the provider did not accept the sign-in")
        return token

    async def _claims(self, provider: _Provider, token: str, nonce: str) -> Mapping[str, Any]:
        try:
            claims = await self._verified(provider, token)
            registry = JWTClaimsRegistry(
                now=lambda: int(self._clock().timestamp()),
                leeway=_LEEWAY_S,
                iss={"essential": True, "value": provider.issuer},
                aud={"essential": True, "value": self._settings.client_id},
                exp={"essential": True},
                iat={"essential": True},
                sub={"essential": True},
            )
            registry.validate(claims)
        except JoseError as error:
            raise _failed("id_token", f"the provider's token is not valid: {error.error}") from None
        except (ValueError, TypeError, KeyError):
            raise _failed("id_token", "the provider's token is not valid: malformed") from None
        audience = claims["aud"] if isinstance(claims["aud"], list) else [claims["aud"]]
        if (len(audience) > 1 or "azp" in claims) and claims.get("azp") != self._settings.client_id:
            raise _failed("id_token", "the provider's token was issued to another client")
        said = claims.get("nonce")
        if not isinstance(said, str) or not secrets.compare_digest(said.encode(), nonce.encode()):
            raise _failed("nonce", "the provider's token belongs to another sign-in")
        return claims

    async def _verified(self, provider: _Provider, token: str) -> dict[str, Any]:
        """Claims under a good signature. An unknown key may be a new one: then the keys are fetched once more."""
        try:
            return jwt.decode(token, await self._key_set(provider, fresh=False), algorithms=list(ALGORITHMS)).claims
        except (JoseError, ValueError):
            return jwt.decode(token, await self._key_set(provider, fresh=True), algorithms=list(ALGORITHMS)).claims

    def _identity(self, claims: Mapping[str, Any]) -> Entrant:
        account = claims.get(self._settings.user_claim)
        if not isinstance(account, str) or not 1 <= len(account) <= 200 or not account.isprintable():
            raise _failed("claims", f"the provider's token has no usable `{self._settings.user_claim}`")
        said = claims.get(self._settings.groups_claim, [])
        groups = {one for one in (said if isinstance(said, list) else [said]) if isinstance(one, str)}
        granted = [grant for grant in self._settings.grants if grant.group in groups]
        roles = frozenset(Role(role) for grant in granted for role in grant.roles)
        tenants = tuple(sorted({tenant for grant in granted for tenant in grant.tenants}))
        if not roles or not tenants:
            raise RequestError("your account has no role in the console", code="oidc_no_role", status=403)
        return Entrant(account=account, local=False, roles=roles, tenants=tenants, groups=frozenset(groups))

    async def _discover(self) -> _Provider:
        if self._provider is None:
            url = self._settings.issuer.rstrip("/") + "/.well-known/openid-configuration"
            _, body = await self._call("GET", url)
            try:
                provider = msgspec.convert(body, _Provider)
            except msgspec.ValidationError:
                raise GuardUnavailable("the provider's discovery is incomplete: check `console.oidc`") from None
            if provider.issuer != self._settings.issuer:
                raise GuardUnavailable("the provider names another issuer: write `console.oidc.issuer` as it does")
            for endpoint in (provider.authorization_endpoint, provider.token_endpoint, provider.jwks_uri):
                _check_secure(endpoint)
            self._provider = provider
        return self._provider

    async def _key_set(self, provider: _Provider, *, fresh: bool) -> KeySet:
        now = self._clock()
        if fresh or self._keys is None or self._keys_until is None or now >= self._keys_until:
            _, body = await self._call("GET", provider.jwks_uri)
            try:
                self._keys = KeySet.import_key_set(body)  # type: ignore[arg-type] # checked by what it raises
            except (JoseError, ValueError, TypeError, KeyError):
                raise GuardUnavailable("the provider's keys cannot be read: check `console.oidc`") from None
            self._keys_until = now + _KEYS_FOR
        return self._keys

    async def _call(self, method: str, url: str, form: Mapping[str, str] | None = None) -> tuple[int, dict[str, Any]]:
        timeout = aiohttp.ClientTimeout(total=self._settings.timeout_s)
        try:
            async with (
                aiohttp.ClientSession(timeout=timeout, trust_env=False) as session,
                session.request(method, url, data=form, allow_redirects=False) as answer,
            ):
                payload = await answer.content.read(_MOST_BYTES)
                while not answer.content.at_eof() and len(payload) < _MOST_BYTES:
                    payload += await answer.content.read(_MOST_BYTES - len(payload))
                body = msgspec.json.decode(payload)
        except (aiohttp.ClientError, TimeoutError, OSError) as error:
            raise GuardUnavailable(f"the identity provider cannot be reached: {type(error).__name__}") from None
        except msgspec.DecodeError:
            raise GuardUnavailable("the identity provider does not answer with json") from None
        if not isinstance(body, dict) or (method == "GET" and answer.status != 200):
            raise GuardUnavailable(f"the identity provider answers {answer.status}")
        return answer.status, body


def _check_secure(url: str) -> None:
    parts = urlsplit(url)
    if parts.scheme != "https" and parts.hostname not in _LOOPBACK:
        raise GuardUnavailable("the provider names an address without https: its sign-in is not used")


def _failed(code: str, message: str) -> RequestError:
    return RequestError(f"{message}: sign in again", code=f"oidc_{code}", status=403)
