"""An OpenID provider on loopback, with a switch for each attack on the console's sign-in."""

import base64
import hashlib
import hmac
import json
import secrets
import socket
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Any
from urllib.parse import parse_qs, urlencode, urlsplit

from aiohttp import web
from joserfc import jwt
from joserfc.jwk import ECKey, RSAKey


class Provider:
    """Issues codes to whoever comes and tokens with the claims of `person`. `claims` and `header` change the token,
    `answer` what the browser brings back, `sign` signs with another key or algorithm."""

    def __init__(self, port: int) -> None:
        self.issuer = f"http://127.0.0.1:{port}"
        self.key: Any = ECKey.generate_key("P-256", {"kid": "one", "use": "sig", "alg": "ES256"})
        self.algorithm = "ES256"
        self.person: dict[str, Any] = {"sub": "zoe", "groups": ["reviewers"]}
        self.claims: dict[str, Any] = {}
        self.answer: dict[str, str] = {}
        self.names_issuer = True
        self.discovery: dict[str, Any] = {}
        self.sign: Any = None
        self.codes: dict[str, dict[str, str]] = {}
        self.token_status = 200
        self.fetched_keys = 0
        self.now = 0

    def authorise(self, url: str) -> dict[str, str]:
        """What a browser brings back after the person has signed in there."""
        asked = {name: values[0] for name, values in parse_qs(urlsplit(url).query).items()}
        assert asked["response_type"] == "code"
        assert asked["code_challenge_method"] == "S256"
        assert "openid" in asked["scope"].split()
        code = secrets.token_urlsafe(8)
        self.codes[code] = asked
        back = {"code": code, "state": asked["state"], "iss": self.issuer, **self.answer}
        return {name: value for name, value in back.items() if value}

    async def configuration(self, _: web.Request) -> web.Response:
        return web.json_response(
            {
                "issuer": self.issuer,
                "authorization_endpoint": f"{self.issuer}/authorize",
                "token_endpoint": f"{self.issuer}/token",
                "jwks_uri": f"{self.issuer}/keys",
                "authorization_response_iss_parameter_supported": self.names_issuer,
                **self.discovery,
            }
        )

    async def keys(self, _: web.Request) -> web.Response:
        self.fetched_keys += 1
        return web.json_response({"keys": [self.key.as_dict(private=False)]})

    async def token(self, request: web.Request) -> web.Response:
        form = await request.post()
        asked = self.codes.pop(str(form.get("code")), None)
        if asked is None or self.token_status != 200 or form.get("client_secret") != "client secret":
            return web.json_response({"error": "invalid_grant"}, status=400)
        digest = hashlib.sha256(str(form["code_verifier"]).encode()).digest()
        if base64.urlsafe_b64encode(digest).rstrip(b"=").decode() != asked["code_challenge"]:
            return web.json_response({"error": "invalid_grant"}, status=400)
        return web.json_response({"token_type": "Bearer", "access_token": "x", "id_token": self._id_token(asked)})

    def _id_token(self, asked: dict[str, str]) -> str:
        claims = {
            "iss": self.issuer,
            "aud": asked["client_id"],
            "iat": self.now,
            "exp": self.now + 300,
            "nonce": asked["nonce"],
            **self.person,
            **self.claims,
        }
        claims = {name: value for name, value in claims.items() if value is not None}
        if self.sign is not None:
            return self.sign(claims)
        return jwt.encode({"alg": self.algorithm, "kid": self.key.kid}, claims, self.key, algorithms=[self.algorithm])

    def unsigned(self, claims: dict[str, Any]) -> str:
        return f"{_part({'alg': 'none'})}.{_part(claims)}."

    def with_public_key_as_secret(self, claims: dict[str, Any]) -> str:
        """Algorithm confusion: HS256 with the public key's bytes."""
        signed = f"{_part({'alg': 'HS256', 'kid': 'one'})}.{_part(claims)}"
        digest = hmac.digest(self.key.as_pem(private=False), signed.encode(), "sha256")
        return f"{signed}.{base64.urlsafe_b64encode(digest).rstrip(b'=').decode()}"

    def with_a_key_of_its_own(self, claims: dict[str, Any]) -> str:
        """The attacker's key under the known name, and in the header."""
        other = ECKey.generate_key("P-256", {"kid": "one"})
        header = {"alg": "ES256", "kid": "one", "jwk": other.as_dict(private=False)}
        return jwt.encode(header, claims, other, algorithms=["ES256"])

    def rotate(self) -> None:
        self.key = RSAKey.generate_key(2048, {"kid": "two", "use": "sig"})
        self.algorithm = "RS256"


def _part(value: dict[str, Any]) -> str:
    return base64.urlsafe_b64encode(json.dumps(value).encode()).rstrip(b"=").decode()


@asynccontextmanager
async def provider() -> AsyncIterator[Provider]:
    with socket.socket() as listener:
        listener.bind(("127.0.0.1", 0))
        port = int(listener.getsockname()[1])
    made = Provider(port)
    app = web.Application()
    app.router.add_get("/.well-known/openid-configuration", made.configuration)
    app.router.add_get("/keys", made.keys)
    app.router.add_post("/token", made.token)
    runner = web.AppRunner(app)
    await runner.setup()
    try:
        await web.TCPSite(runner, "127.0.0.1", port).start()
        yield made
    finally:
        await runner.cleanup()


def callback(answer: dict[str, str]) -> str:
    return f"/callback?{urlencode(answer)}"
