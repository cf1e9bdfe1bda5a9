"""How a Weaviate server is reached, and what its failures become."""

from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import msgspec
from msgspec import Struct

from gateway.domain.errors import StoreUnavailable
from gateway.domain.text import Secret


class WeaviateAddress(Struct, frozen=True, kw_only=True):
    """Where the server is and who asks. `secure` means TLS on both ports. An API key, or the secret of an OpenID
    Connect client (RFC 6749, 4.4: client credentials), or neither; the server says where tokens come from."""

    host: str
    http_port: int
    grpc_port: int
    secure: bool = False
    api_key: Secret | None = None
    oidc_secret: Secret | None = None
    oidc_scope: str = ""
    timeout_s: float = 10.0


def weaviate_client(address: WeaviateAddress) -> Any:
    """An asynchronous client that is not connected yet."""
    import weaviate
    from weaviate.classes.init import AdditionalConfig, Timeout

    timeout = Timeout(init=address.timeout_s, query=address.timeout_s, insert=6 * address.timeout_s)
    return weaviate.use_async_with_custom(
        http_host=address.host,
        http_port=address.http_port,
        http_secure=address.secure,
        grpc_host=address.host,
        grpc_port=address.grpc_port,
        grpc_secure=address.secure,
        auth_credentials=_credentials(address),
        additional_config=AdditionalConfig(timeout=timeout, trust_env=False),
        skip_init_checks=True,  # the checks ask a package index for the newest client version
    )


@contextmanager
def weaviate_failures(address: WeaviateAddress) -> Iterator[None]:
    """Whatever the server or the way to it does becomes a `StoreUnavailable` without content."""
    import grpc  # type: ignore[import-untyped]
    from weaviate.exceptions import WeaviateBaseError

    try:
        yield
    except (WeaviateBaseError, grpc.RpcError, OSError, msgspec.MsgspecError, KeyError) as error:
        raise StoreUnavailable(
            f"weaviate at `{address.host}:{address.http_port}` cannot be used: "
            f"{type(error).__name__}: check that it runs and that both ports are open",
            code="store_failed",
        ) from error


def _credentials(address: WeaviateAddress) -> Any:
    from weaviate.classes.init import Auth

    if address.api_key:
        return Auth.api_key(address.api_key.reveal())
    if address.oidc_secret:
        return Auth.client_credentials(address.oidc_secret.reveal(), scope=address.oidc_scope or None)
    return None
