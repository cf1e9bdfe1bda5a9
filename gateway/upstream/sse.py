"""Server-sent events without I/O: bytes in, events out.

Follows the event stream grammar of the WHATWG HTML standard, section 9.2.6: lines end in LF, CR or CRLF, a line
that starts with a colon is a comment, several `data` lines are joined by LF, an empty line ends the event, and an
event that the end of the stream cuts off is dropped. Lines are found in the bytes, before any decoding, so a
chunk may end anywhere, inside a code point too: the same bytes give the same events however they are cut.
"""

import re
from typing import Final

from msgspec import Struct

MAX_LINE_BYTES: Final = 1024 * 1024  # one chunk of a model is a few hundred bytes; inline images stay below this
MAX_EVENT_BYTES: Final = 4 * 1024 * 1024

_LINE_END: Final = re.compile(rb"\r\n|\n|\r")
_BOM: Final = b"\xef\xbb\xbf"


class SseTooLong(Exception):
    """A line or an event is longer than its bound; the stream cannot be read further."""


class SseEvent(Struct, frozen=True):
    """One event. `data` is UTF-8 as received, not validated; `name` is the event type, "" for the default."""

    data: bytes
    name: str = ""

    def __repr__(self) -> str:
        return f"SseEvent(<{len(self.data)} bytes>, {self.name!r})"


class SseParser:
    """Holds the unfinished line and event between chunks. Not safe for concurrent use; one parser a stream."""

    __slots__ = ("_after_cr", "_data", "_data_bytes", "_line", "_max_event", "_max_line", "_name", "_started")

    def __init__(self, *, max_line_bytes: int = MAX_LINE_BYTES, max_event_bytes: int = MAX_EVENT_BYTES) -> None:
        self._max_line = max_line_bytes
        self._max_event = max_event_bytes
        self._line = bytearray()
        self._after_cr = False
        self._started = False
        self._data: list[bytes] = []
        self._data_bytes = 0
        self._name = ""

    def feed(self, chunk: bytes) -> list[SseEvent]:
        """Events that `chunk` completes, in order. Raises `SseTooLong`. Time is linear in the bytes fed."""
        if self._after_cr and chunk:
            self._after_cr = False
            if chunk.startswith(b"\n"):  # the second half of a CRLF that the cut fell into
                chunk = chunk[1:]
        if not chunk:
            return []
        self._after_cr = chunk.endswith(b"\r")
        lines = _LINE_END.split(chunk) if b"\r" in chunk else chunk.split(b"\n")
        rest = lines.pop()
        events: list[SseEvent] = []
        for line in lines:
            if self._line:
                self._keep(line)
                line = bytes(self._line)  # noqa: PLW2901 - the line whose end just arrived
                self._line.clear()
            event = self._take_line(line)
            if event is not None:
                events.append(event)
        self._keep(rest)
        return events

    def _keep(self, part: bytes) -> None:
        self._line += part
        if len(self._line) > self._max_line:
            raise SseTooLong

    def _take_line(self, line: bytes) -> SseEvent | None:
        if len(line) > self._max_line:
            raise SseTooLong
        if not self._started:
            self._started = True
            line = line.removeprefix(_BOM)
        if not line:
            return self._dispatch()
        field, _, value = line.partition(b":")
        value = value.removeprefix(b" ")
        if field == b"data":
            self._data.append(value)
            self._data_bytes += len(value) + 1
            if self._data_bytes > self._max_event:
                raise SseTooLong
        elif field == b"event":
            self._name = value.decode("utf-8", "replace")
        return None  # comments (an empty field name), `id`, `retry` and unknown fields mean nothing here

    def _dispatch(self) -> SseEvent | None:
        event = SseEvent(b"\n".join(self._data), self._name) if self._data else None
        self._data.clear()
        self._data_bytes = 0
        self._name = ""
        return event
