"""Chooses how an answer is cut, from the detectors that its rules need."""

from collections.abc import Callable, Mapping, Sequence

from gateway.enforce.release import Cut
from gateway.enforce.units import Granularity, Growing


class GrowthIndex:
    """Remembers one compiled expression per set of detectors.

    `expressions[name]` are a detector's beginnings of matches (RE2), or `None` for one that reads whole sentences.
    The expressions of the others still hold a sentence back where a match would cross its end.
    """

    def __init__(
        self,
        expressions: Mapping[str, Sequence[str] | None],
        compile_growing: Callable[[Sequence[str]], Growing],
    ) -> None:
        self._expressions = expressions
        self._compile = compile_growing
        self._cuts: dict[frozenset[str], Cut] = {}

    def cut(self, detectors: frozenset[str]) -> Cut:
        """How to cut an answer that these detectors look at. One that nobody knows of is not run at all, so it does
        not keep words back."""
        known = self._cuts.get(detectors)
        if known is None:
            known = self._cuts[detectors] = self._make(detectors)
        return known

    def _make(self, detectors: frozenset[str]) -> Cut:
        installed = sorted(name for name in detectors if name in self._expressions)
        joined = [expression for name in installed for expression in self._expressions[name] or ()]
        return Cut(
            granularity=Granularity.SENTENCE,
            growing=self._compile(joined) if joined else None,
            eager=all(self._expressions[name] is not None for name in installed),
        )
