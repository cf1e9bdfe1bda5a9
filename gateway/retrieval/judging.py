"""The port by which an ingest has passages judged before they are indexed."""

from collections.abc import Sequence
from typing import Protocol

from msgspec import Struct

from gateway.domain.passage import Passage
from gateway.domain.vocabulary import Effect


class JudgedText(Struct, frozen=True, kw_only=True):
    """A passage as it is to be indexed (redacted where policies say so), and the effect of the rules that hold for
    every caller. `rules` are those that made it. Unless `complete`, a detector failed: judge it again next time."""

    passage: Passage
    effect: Effect
    rules: tuple[str, ...] = ()
    redacted: bool = False
    complete: bool = True


class PassageJudge(Protocol):
    """Judges by the policies of phase `passage`. `policy` is the digest of the bundle and of the detectors' versions:
    while it stays, equal texts are judged alike. Belongs to one event loop."""

    policy: str

    async def judge(self, tenant: str, passages: Sequence[Passage]) -> list[JudgedText]:
        """One result for each passage, in order. A failing detector makes the effect stricter, never raises."""
        ...
