"""Token log-probabilities carry the text a second time: they leave only with text that left unchanged."""

from typing import Any

from gateway.domain.model import Body
from gateway.enforce.release import Released


class LogprobQueue:
    """Holds the entries of a stream until the text they belong to is released. Once any text was changed, or the
    tokens cannot be matched to it, no entry leaves any more."""

    __slots__ = ("_ahead", "_closed", "_held")

    def __init__(self) -> None:
        self._held: list[tuple[int, Any]] = []
        self._ahead = 0  # characters released beyond the last whole entry
        self._closed = False

    def add(self, logprobs: Any) -> None:
        entries = logprobs.get("content") if isinstance(logprobs, dict) else None
        for entry in entries if isinstance(entries, list) else ():
            token = entry.get("token") if isinstance(entry, dict) else None
            if not isinstance(token, str):
                self._closed = True
                return
            self._held.append((len(token), entry))

    def take(self, released: Released) -> Body | None:
        """The entries that belong wholly to what has been released so far."""
        if released.changed:
            self._closed = True
        if self._closed:
            self._held.clear()
            return None
        self._ahead += released.raw_chars
        ready: list[Any] = []
        while self._held and self._held[0][0] <= self._ahead:
            length, entry = self._held.pop(0)
            self._ahead -= length
            ready.append(entry)
        return {"content": ready, "refusal": None} if ready else None
