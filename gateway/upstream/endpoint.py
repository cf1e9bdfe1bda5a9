"""One HTTP address of a model provider: pool, credential, timeouts, retries before the first byte.

1. The address is fixed by configuration; redirects are not followed, proxy variables are not read, no cookies kept.
2. Nothing is decompressed: a reply that is compressed although plain text was asked for is an error.
3. Leaving a call in any way other than reading its reply to the end closes its connection.
4. No text of an error holds an address, a credential or a body.
"""

import asyncio
from typing import Final

import aiohttp
from msgspec import Struct

from gateway.domain.errors import UpstreamError
from gateway.domain.text import Secret
from gateway.upstream.faults import MAX_ERROR_BODY_BYTES, cannot_connect, from_status, malformed, timed_out
from gateway.upstream.retry import RetryPolicy, Waiting, with_retries

MAX_REPLY_BYTES: Final = 32 * 1024 * 1024  # a large batch of embeddings is about 20 MB
_DRAIN_S: Final = 0.25  # the end of a chunked body follows its last event at once


class Timeouts(Struct, frozen=True, kw_only=True):
    connect_s: float = 5.0
    first_byte_s: float = 60.0  # from the start of the call to the first byte of the reply
    idle_s: float = 60.0  # between two reads
    total_s: float = 600.0


class Endpoint:
    """Posts JSON and hands out replies. For one event loop; the pool opens on first use and is closed by `close`."""

    def __init__(
        self,
        *,
        name: str,
        base_url: str,
        api_key: Secret | None,
        timeouts: Timeouts,
        retries: int,
        waiting: Waiting,
    ) -> None:
        self.name = name
        self._base_url = base_url.rstrip("/")
        self._api_key = api_key
        self._timeouts = timeouts
        self._retries = RetryPolicy(retries=retries)
        self._waiting = waiting
        self._session: aiohttp.ClientSession | None = None
        self._draining: set[asyncio.Task[None]] = set()

    async def post(self, path: str, body: bytes, *, accept: str, exchange: str) -> "Reply":
        """A reply with status 200 and content type `accept`, its body unread. Raises `UpstreamError`."""

        async def attempt() -> Reply:
            return await self._attempt(path, body, accept=accept, exchange=exchange)

        return await with_retries(attempt, self._retries, self._waiting)

    async def close(self) -> None:
        for task in self._draining:
            task.cancel()
        if self._session is not None:
            await self._session.close()
            self._session = None

    async def _attempt(self, path: str, body: bytes, *, accept: str, exchange: str) -> "Reply":
        loop = asyncio.get_running_loop()
        deadline = loop.time() + self._timeouts.first_byte_s
        headers = {"Accept": accept}
        if exchange:
            headers["X-Request-Id"] = exchange
        try:
            async with asyncio.timeout_at(deadline):
                response = await self._pool().post(
                    self._base_url + path, data=body, headers=headers, allow_redirects=False
                )
        except aiohttp.ConnectionTimeoutError:
            raise cannot_connect(self.name, why="did not accept a connection in time", status=504) from None
        except TimeoutError:
            raise timed_out(self.name, "sent no reply in time") from None
        except aiohttp.ClientConnectorCertificateError:
            raise UpstreamError(
                f"model `{self.name}` has a certificate that is not trusted", code="upstream_unreachable"
            ) from None
        except aiohttp.ClientConnectorError:
            raise cannot_connect(self.name, why="does not accept connections") from None
        except aiohttp.ClientConnectionError:
            raise cannot_connect(self.name, why="closed the connection without a reply") from None
        except aiohttp.ClientError:
            raise malformed(self.name, "something that is not HTTP") from None
        reply = Reply(self, response, timeouts=self._timeouts, first_byte_deadline=deadline)
        try:
            await reply.check(accept)
        except BaseException:
            reply.close()
            raise
        return reply

    def _pool(self) -> aiohttp.ClientSession:
        if self._session is None:
            headers = {
                "User-Agent": "answer-gateway",
                "Accept-Encoding": "identity",
                "Content-Type": "application/json",
            }
            if self._api_key is not None:
                headers["Authorization"] = f"Bearer {self._api_key.reveal()}"
            self._session = aiohttp.ClientSession(
                connector=aiohttp.TCPConnector(limit=0),  # admission bounds the number of calls
                cookie_jar=aiohttp.DummyCookieJar(),
                headers=headers,
                timeout=aiohttp.ClientTimeout(total=self._timeouts.total_s, sock_connect=self._timeouts.connect_s),
                auto_decompress=False,
                trust_env=False,
            )
        return self._session

    def drain(self, reply: "Reply") -> None:
        """Read the end of a reply whose content is known to be whole, so that its connection can be used again."""
        task = asyncio.get_running_loop().create_task(reply.discard_rest(_DRAIN_S))
        self._draining.add(task)
        task.add_done_callback(self._draining.discard)


class Reply:
    """A reply whose headers were read."""

    def __init__(
        self, endpoint: Endpoint, response: aiohttp.ClientResponse, *, timeouts: Timeouts, first_byte_deadline: float
    ) -> None:
        self._endpoint = endpoint
        self._response = response
        self._idle_s = timeouts.idle_s
        self._deadline: float | None = first_byte_deadline
        self._size = 0

    async def check(self, accept: str) -> None:
        """Raise `UpstreamError` unless status, encoding and content type are as asked for."""
        response = self._response
        name = self._endpoint.name
        if response.status != 200:
            try:
                body = await self._read_up_to(MAX_ERROR_BODY_BYTES)
            except UpstreamError:
                body = b""  # the status alone is worth more than the reason why its text is missing
            raise from_status(name, response.status, response.headers, body)
        if response.headers.get("Content-Encoding", "identity").lower() != "identity":
            raise malformed(name, "a compressed reply although plain text was asked for")
        if response.content_type != accept:
            raise malformed(name, f"a reply that is not `{accept}`")

    async def read(self) -> bytes:
        """The next part of the body, b"" at its end. Raises `UpstreamError`, after `MAX_REPLY_BYTES` too."""
        content = self._response.content
        name = self._endpoint.name
        try:
            part = content.read_nowait()
            if not part and not content.at_eof():
                loop = asyncio.get_running_loop()
                deadline = self._deadline or loop.time() + self._idle_s
                async with asyncio.timeout_at(deadline):
                    part = await content.readany()
        except TimeoutError:
            raise timed_out(name, "fell silent in the middle of its reply") from None
        except aiohttp.ClientError:
            raise UpstreamError(
                f"model `{name}` closed the connection in the middle of its reply", code="upstream_incomplete"
            ) from None
        self._deadline = None
        self._size += len(part)
        if self._size > MAX_REPLY_BYTES:
            raise malformed(name, "a reply that is too long")
        return part

    async def read_all(self) -> bytes:
        """The whole body. Raises `UpstreamError`."""
        if (self._response.content_length or 0) > MAX_REPLY_BYTES:
            raise malformed(self._endpoint.name, "a reply that is too long")
        return await self._read_up_to(MAX_REPLY_BYTES)

    async def _read_up_to(self, limit: int) -> bytes:
        parts: list[bytes] = []
        size = 0
        while size < limit:
            part = await self.read()
            if not part:
                break
            parts.append(part)
            size += len(part)
        return b"".join(parts)[:limit]

    async def discard_rest(self, timeout_s: float) -> None:
        content = self._response.content
        try:
            async with asyncio.timeout(timeout_s):
                while not content.at_eof():
                    await content.readany()
        except (TimeoutError, aiohttp.ClientError):
            pass  # nothing is lost but a connection
        finally:
            self.close()

    def settle(self) -> None:
        """The content is whole: keep the connection if the body's end is there or about to come."""
        if self._response.content.at_eof():
            self.close()
        else:
            self._endpoint.drain(self)

    def close(self) -> None:
        """Close the connection unless the reply was read to its end. May be called more than once."""
        if self._response.content.at_eof():
            self._response.release()
        else:
            self._response.close()
