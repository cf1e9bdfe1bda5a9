"""Parses files, the dangerous formats in a child process that is killed when it takes too long or too much."""

import os
import select
import subprocess
import sys
import time
from typing import Final, Self

import msgspec

from gateway.retrieval.parsing.parse import parse
from gateway.retrieval.parsing.parsed import (
    DEFAULT_LIMITS,
    DocumentFormat,
    Parsed,
    ParseLimits,
    UnreadableDocument,
)
from gateway.retrieval.parsing.worker import LENGTH, Reply, Request

# What is read by libraries in C, or by parsers of large languages. The rest is our own code and linear in the text.
_APART: Final = frozenset({DocumentFormat.HTML, DocumentFormat.PDF, DocumentFormat.DOCX})
_MEMORY_BYTES: Final = 2 * 1024**3  # of address space, of which the interpreter and its libraries map a tenth
_TIMEOUT_S: Final = 60.0
_READ_BYTES: Final = 1 << 20


class Parser:
    """Blocking; used by one thread at a time. The child starts with the first file that needs it (0.2 s) and serves
    all others. Close it after use (context manager)."""

    def __init__(
        self, limits: ParseLimits = DEFAULT_LIMITS, *, timeout_s: float = _TIMEOUT_S, memory_bytes: int = _MEMORY_BYTES
    ) -> None:
        self._limits = limits
        self._timeout_s = timeout_s
        self._memory_bytes = memory_bytes
        self._child: subprocess.Popen[bytes] | None = None

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def parse(self, content: bytes, format_: DocumentFormat) -> Parsed:
        """Raises `UnreadableDocument`, also for a file that takes longer than the time or more than the memory."""
        if format_ not in _APART:
            return parse(content, format_, self._limits)
        reply = self._ask(Request(content=content, format=format_, limits=self._limits))
        if reply.parsed is None:
            raise UnreadableDocument(reply.fault)
        return reply.parsed

    def close(self) -> None:
        if self._child is not None:
            self._child.kill()
            self._child.communicate()
            self._child = None

    def _ask(self, request: Request) -> Reply:
        until = time.monotonic() + self._timeout_s
        encoded = msgspec.msgpack.encode(request)
        child = self._child or self._start()
        try:
            self._write(child, LENGTH.pack(len(encoded)) + encoded, until)
            length = LENGTH.unpack(self._read(child, LENGTH.size, until))[0]
            return msgspec.msgpack.decode(self._read(child, length, until), type=Reply)
        except TimeoutError:
            self.close()
            raise UnreadableDocument(
                f"parsing took longer than {self._timeout_s:g} s: simplify or split the file"
            ) from None
        except (OSError, EOFError, msgspec.MsgspecError):
            self.close()  # the next file gets a new child
            raise UnreadableDocument("parsing ended early, mostly for want of memory: split the file") from None

    def _start(self) -> subprocess.Popen[bytes]:
        command = [sys.executable, "-m", "gateway.retrieval.parsing.worker", str(self._memory_bytes)]
        self._child = subprocess.Popen(  # noqa: S603 our own program
            command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=subprocess.DEVNULL, bufsize=0
        )
        return self._child

    @staticmethod
    def _write(child: subprocess.Popen[bytes], content: bytes, until: float) -> None:
        assert child.stdin is not None
        descriptor, left = child.stdin.fileno(), memoryview(content)
        os.set_blocking(descriptor, False)
        while left:
            _, ready, _ = select.select([], [descriptor], [], max(0.0, until - time.monotonic()))
            if not ready:
                raise TimeoutError
            left = left[os.write(descriptor, left) :]

    @staticmethod
    def _read(child: subprocess.Popen[bytes], count: int, until: float) -> bytes:
        assert child.stdout is not None
        descriptor, found = child.stdout.fileno(), bytearray()
        while len(found) < count:
            ready, _, _ = select.select([descriptor], [], [], max(0.0, until - time.monotonic()))
            if not ready:
                raise TimeoutError
            part = os.read(descriptor, min(_READ_BYTES, count - len(found)))
            if not part:
                raise EOFError
            found += part
        return bytes(found)
