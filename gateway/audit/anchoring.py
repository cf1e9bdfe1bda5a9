"""Compares a log, while it is read in order, with the checkpoints that were signed over it.

A checkpoint anchors the events it covers if a key that the caller named signed it and, where the caller named
witnesses, enough of them cosigned it. A key that lies beside the log anchors nothing: whoever can rewrite the log
can replace it. A checkpoint that the log does not fit is told whoever signed it.
"""

from collections.abc import Iterable
from typing import Any, Final

from msgspec import Struct

from gateway.audit.anchor import accepts
from gateway.audit.checkpoint import Checkpoint, SignedCheckpoint
from gateway.audit.entry import leaf_hash
from gateway.audit.merkle import CompactRange
from gateway.audit.note import VerifierKey
from gateway.domain.event import EventType


class Trust(Struct, frozen=True, kw_only=True):
    """Whom the verifier believes: the signer's keys, and witnesses of which `quorum` must have cosigned."""

    log_keys: tuple[VerifierKey, ...] = ()
    witness_keys: tuple[VerifierKey, ...] = ()
    quorum: int = 1

    def anchors(self, signed: SignedCheckpoint) -> bool:
        if not self.log_keys and not self.witness_keys:
            return False
        if self.log_keys and not any(signed.is_signed_by(key) for key in self.log_keys):
            return False
        return not self.witness_keys or len(signed.witnesses(self.witness_keys)) >= self.quorum


NOBODY: Final = Trust()


class Anchor(Struct, frozen=True):
    """The largest trusted checkpoint that the log fits. `witnesses` are the names of those who cosigned it, and
    `cosigned_at` the earliest of their times, in POSIX seconds (0 without any)."""

    size: int
    root: str
    witnesses: tuple[str, ...]
    cosigned_at: int


class Anchoring:
    """Give it each event in order, then ask. Not thread-safe."""

    def __init__(self, checkpoints: Iterable[SignedCheckpoint], trust: Trust) -> None:
        self._trust = trust
        self._by_size: dict[int, list[SignedCheckpoint]] = {}
        for signed in checkpoints:
            self._by_size.setdefault(signed.checkpoint.size, []).append(signed)
        self._tree = CompactRange()
        self._differing: list[Checkpoint] = []
        self._accepted: list[tuple[int, dict[str, Any]]] = []
        self.count = sum(map(len, self._by_size.values()))
        self.anchor: Anchor | None = None

    def follow(self, event: dict[str, Any], body: bytes) -> None:
        """Take the next event in."""
        if not self._by_size:
            return
        self._tree.append(leaf_hash(body))
        if event["type"] == EventType.BREAK_GLASS:
            self._accepted.append((self._tree.size, event))
        points = self._by_size.pop(self._tree.size, ())
        if not points:
            return
        root = self._tree.root()
        for signed in points:
            if signed.checkpoint.root != root:
                self._differing.append(signed.checkpoint)
            elif self._trust.anchors(signed):
                self.anchor = self._anchor(signed)

    def differences(self) -> tuple[list[str], list[str]]:
        """After the last event: the checkpoints that the log does not fit, and those among them that two people
        accepted as lost in an event that is itself anchored."""
        size = self._tree.size
        anchored = self.anchor.size if self.anchor else 0
        lost: list[str] = []
        accepted: list[str] = []
        beyond = [signed.checkpoint for points in self._by_size.values() for signed in points]
        for point in self._differing + beyond:
            what = "its first events differ" if point.size <= size else f"the log ends at event {size}"
            line = f"checkpoint {point.size} of `{point.origin}`: {what}"
            (accepted if self._is_accepted(point, anchored) else lost).append(line)
        return lost, accepted

    def _is_accepted(self, point: Checkpoint, anchored: int) -> bool:
        """Whether a break-glass event names this checkpoint, or a later one of the same name."""
        for seq, event in self._accepted:
            named = event.get("checkpoint")
            if seq <= anchored and isinstance(named, dict) and named.get("origin") == point.origin:
                later = type(named.get("size")) is int and named["size"] > point.size
                if later or accepts(event, point):
                    return True
        return False

    def _anchor(self, signed: SignedCheckpoint) -> Anchor:
        times = signed.witnesses(self._trust.witness_keys)
        names = tuple(key.name for key in self._trust.witness_keys if str(key) in times)
        point = signed.checkpoint
        return Anchor(point.size, point.root.hex(), names, min(times.values(), default=0))
