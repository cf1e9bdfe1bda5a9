"""Names to models: fallbacks in order, a circuit breaker for each, and a record of who answered.

A request goes to the model it names. When that model fails for a reason that is not the caller's fault, or its
circuit is open, the configured fallbacks are tried in order, each once. A stream may change models only before
its first chunk.
"""

from collections.abc import AsyncGenerator, AsyncIterator, Iterator, Sequence
from typing import Protocol

from msgspec import Struct

from gateway.domain.errors import UpstreamError
from gateway.domain.model import Body, ModelReply, ModelRequest
from gateway.upstream.breaker import Breaker, Circuit, Permit
from gateway.upstream.faults import is_callers_fault


class Model(Protocol):
    """An upstream with a name of its own. `provider` and `model` say who answers."""

    provider: str
    model: str

    async def complete(self, request: ModelRequest) -> ModelReply: ...

    def stream(self, request: ModelRequest) -> AsyncGenerator[Body, None]: ...

    async def close(self) -> None: ...


class Route(Struct, frozen=True, kw_only=True):
    """One name that clients may use."""

    name: str
    upstream: Model
    breaker: Breaker
    fallbacks: tuple[str, ...] = ()  # names of other routes


class RoutedStream:
    """An async iterator over chunks. `provider` and `model` are "" until the first chunk has arrived."""

    def __init__(self, router: "Router", request: ModelRequest) -> None:
        self.provider = ""
        self.model = ""
        self._chunks = router.run_stream(request, self)

    def __aiter__(self) -> AsyncIterator[Body]:
        return self

    async def __anext__(self) -> Body:
        return await self._chunks.__anext__()

    async def aclose(self) -> None:
        """Close the upstream's connection at once."""
        await self._chunks.aclose()


class Router:
    """Implements `Upstream` over named routes. For one event loop.

    Raises `UpstreamError`: the error of the last model tried; `model_not_found` (404) for an unknown name;
    `upstream_unavailable` (503, with the seconds until a circuit may close) when every circuit is open.
    """

    def __init__(self, routes: Sequence[Route]) -> None:
        self._routes = {route.name: route for route in routes}

    @property
    def names(self) -> tuple[str, ...]:
        return tuple(self._routes)

    def circuits(self) -> dict[str, Circuit]:
        """The state of each route's circuit, for health and metrics."""
        return {name: route.breaker.circuit for name, route in self._routes.items()}

    async def complete(self, request: ModelRequest) -> ModelReply:
        last: UpstreamError | None = None
        for route, permit in self._candidates(request.model):
            try:
                reply = await route.upstream.complete(request)
            except UpstreamError as error:
                last = _learn(route, permit, error)
            except BaseException:  # cancelled, or a defect: says nothing about the model
                route.breaker.abandoned(permit)
                raise
            else:
                route.breaker.succeeded(permit)
                return reply
        raise last or self._all_open(request.model)

    def stream(self, request: ModelRequest) -> RoutedStream:
        return RoutedStream(self, request)

    async def close(self) -> None:
        for route in self._routes.values():
            await route.upstream.close()

    async def run_stream(self, request: ModelRequest, stream: RoutedStream) -> AsyncGenerator[Body, None]:
        """The chunks of `stream`, which learns who answers."""
        last: UpstreamError | None = None
        for route, permit in self._candidates(request.model):
            chunks = route.upstream.stream(request)
            started = False
            try:
                async for chunk in chunks:
                    if not started:
                        started = True
                        stream.provider, stream.model = route.upstream.provider, route.upstream.model
                        route.breaker.responded(permit)
                    yield chunk
            except UpstreamError as error:
                last = _learn(route, permit, error)
                if started:
                    raise
            except BaseException:  # closed or cancelled by the caller, or a defect
                route.breaker.abandoned(permit)
                raise
            else:
                route.breaker.succeeded(permit)
                return
            finally:
                await chunks.aclose()
        raise last or self._all_open(request.model)

    def _candidates(self, name: str) -> Iterator[tuple[Route, Permit]]:
        """The named route and its fallbacks, as far as their circuits let a call through. A permit is taken only
        when its turn comes."""
        for candidate in self._chain(name):
            permit = candidate.breaker.enter()
            if permit is not None:
                yield candidate, permit

    def _chain(self, name: str) -> list[Route]:
        first = self._routes.get(name)
        if first is None:
            raise UpstreamError("the model asked for is not configured", code="model_not_found", status=404)
        return [first, *(self._routes[fallback] for fallback in first.fallbacks)]

    def _all_open(self, name: str) -> UpstreamError:
        wait = min(route.breaker.retry_after_s for route in self._chain(name))
        return UpstreamError(
            f"model `{name}` and its fallbacks failed repeatedly and are left alone for a while",
            code="upstream_unavailable",
            status=503,
            retry_after_s=wait,
        )


def _learn(route: Route, permit: Permit, error: UpstreamError) -> UpstreamError:
    """Count `error` against the route and return it; the caller's fault is raised, for no other model can help."""
    if is_callers_fault(error):
        route.breaker.abandoned(permit)
        raise error
    if error.status == 429:
        route.breaker.abandoned(permit)  # busy is not broken
    else:
        route.breaker.failed(permit)
    return error
