"""Chooses how finely an answer may be cut, from the detectors that its rules need."""

from collections.abc import Callable, Mapping, Sequence

from msgspec import Struct

from gateway.enforce.units import Granularity, Growing


class Cut(Struct, frozen=True, kw_only=True):
    granularity: Granularity
    growing: Growing | None


class GrowthIndex:
    """Remembers one compiled expression per set of detectors.

    `expressions[name]` are a detector's beginnings of matches (RE2), or `None` for one that needs whole sentences.
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
        """The finest cut at which none of `detectors` misses anything. A detector nobody knows of is
        not run at all, so it does not make the cut coarser."""
        known = self._cuts.get(detectors)
        if known is None:
            known = self._cuts[detectors] = self._make(detectors)
        return known

    def _make(self, detectors: frozenset[str]) -> Cut:
        installed = sorted(name for name in detectors if name in self._expressions)
        local = all(self._expressions[name] is not None for name in installed)
        joined = [expression for name in installed for expression in self._expressions[name] or ()]
        return Cut(
            granularity=Granularity.WORD if local else Granularity.SENTENCE,
            growing=self._compile(joined) if joined else None,
        )
