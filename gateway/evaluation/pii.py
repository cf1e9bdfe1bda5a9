"""Precision and recall of personal-data detection against gold spans. Pure but for `read_labelled`."""

import gzip
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path
from typing import Any, Final

import msgspec
from msgspec import Struct, field

_JOINTS: Final = frozenset(" \t\r\n,.;:-")
"""Characters between two spans of one kind that do not make them two facts."""


class Span(Struct, frozen=True, order=True):
    """Half-open, in code points."""

    start: int
    end: int
    kind: str


class Labelled(Struct, frozen=True, kw_only=True):
    """A text with its gold spans; texts of one `template` were made alike and belong on one side of a split."""

    text: str
    spans: tuple[Span, ...]
    template: int = 0

    def __repr__(self) -> str:
        return f"Labelled(<{len(self.text)} chars>, {len(self.spans)} spans)"


class Tally(Struct):
    """Counts of one comparison and the measures over them, each 0..1, and 1 where there was nothing to find."""

    true_positive: int = 0
    false_positive: int = 0
    false_negative: int = 0

    @property
    def precision(self) -> float:
        found = self.true_positive + self.false_positive
        return self.true_positive / found if found else 1.0

    @property
    def recall(self) -> float:
        gold = self.true_positive + self.false_negative
        return self.true_positive / gold if gold else 1.0

    def f(self, beta: float) -> float:
        """Weighted harmonic mean; `beta` 2 counts recall as twice as important (van Rijsbergen, 1979)."""
        weighted = (1 + beta * beta) * self.true_positive
        total = weighted + beta * beta * self.false_negative + self.false_positive
        return weighted / total if total else 1.0

    def add(self, other: "Tally") -> None:
        self.true_positive += other.true_positive
        self.false_positive += other.false_positive
        self.false_negative += other.false_negative


class PiiScore(Struct):
    """`spans` demands kind and place; `characters` asks only whether a character is marked as personal, whatever the
    kind (white space is not counted): what redaction leaves behind, and what it takes away needlessly."""

    spans: Tally = field(default_factory=Tally)
    characters: Tally = field(default_factory=Tally)
    by_kind: dict[str, Tally] = field(default_factory=dict)


def score(
    rows: Sequence[Labelled],
    found: Sequence[Iterable[Span]],
    *,
    kinds: Mapping[str, str],
    overlap: float = 0.5,
) -> PiiScore:
    """Compare `found[i]` with the gold spans of `rows[i]`.

    `kinds` maps gold and found kinds to the kinds that are compared. A gold span of another kind is neither
    demanded nor forbidden: what was found there does not count. A found span of another kind is dropped.
    Neighbours of one compared kind are joined first, on both sides, so that it does not matter whether an address
    is one span or five. A gold and a found span match when their kinds agree and their intersection over union is
    at least `overlap`, in (0, 1]; pairs are taken by falling agreement, each span once.
    """
    result = PiiScore()
    for row, spans in zip(rows, found, strict=True):
        excluded = [span for span in row.spans if span.kind not in kinds]
        gold = _joined(row.text, (Span(s.start, s.end, kinds[s.kind]) for s in row.spans if s.kind in kinds))
        seen = _joined(row.text, (Span(s.start, s.end, kinds[s.kind]) for s in spans if s.kind in kinds))
        seen = [span for span in seen if not _touches(span, excluded) or _is_wanted(span, gold, overlap)]
        for kind in {span.kind for span in (*gold, *seen)}:
            tally = _match([s for s in gold if s.kind == kind], [s for s in seen if s.kind == kind], overlap)
            result.by_kind.setdefault(kind, Tally()).add(tally)
            result.spans.add(tally)
        result.characters.add(_characters(row.text, gold, seen, excluded))
    return result


def read_labelled(path: Path) -> list[Labelled]:
    """Rows of a gzipped JSON-lines file with `text`, `spans` (`type`, `start`, `end`) and optionally `template_id`."""
    decoder = msgspec.json.Decoder(dict[str, Any])
    with gzip.open(path) as lines:
        return [_labelled(decoder.decode(line)) for line in lines]


def _labelled(row: Mapping[str, Any]) -> Labelled:
    spans = tuple(sorted(Span(span["start"], span["end"], span["type"]) for span in row["spans"]))
    return Labelled(text=row["text"], spans=spans, template=row.get("template_id", 0))


def _joined(text: str, spans: Iterable[Span]) -> list[Span]:
    joined: dict[str, list[Span]] = {}
    for span in sorted(spans):
        same = joined.setdefault(span.kind, [])
        if same and all(char in _JOINTS for char in text[same[-1].end : span.start]):
            same[-1] = Span(same[-1].start, max(same[-1].end, span.end), span.kind)
        else:
            same.append(span)
    return sorted(span for same in joined.values() for span in same)


def _agreement(one: Span, other: Span) -> float:
    """Intersection over union."""
    shared = min(one.end, other.end) - max(one.start, other.start)
    if shared <= 0:
        return 0.0
    return shared / (max(one.end, other.end) - min(one.start, other.start))


def _touches(span: Span, others: Iterable[Span]) -> bool:
    return any(_agreement(span, other) > 0 for other in others)


def _is_wanted(span: Span, gold: Iterable[Span], overlap: float) -> bool:
    return any(span.kind == other.kind and _agreement(span, other) >= overlap for other in gold)


def _match(gold: Sequence[Span], seen: Sequence[Span], overlap: float) -> Tally:
    pairs = sorted(
        ((_agreement(g, s), i, k) for i, g in enumerate(gold) for k, s in enumerate(seen)),
        key=lambda pair: (-pair[0], pair[1], pair[2]),
    )
    gold_used: set[int] = set()
    seen_used: set[int] = set()
    for agreement, i, k in pairs:
        if agreement >= overlap and i not in gold_used and k not in seen_used:
            gold_used.add(i)
            seen_used.add(k)
    hits = len(gold_used)
    return Tally(hits, len(seen) - hits, len(gold) - hits)


def _characters(text: str, gold: Iterable[Span], seen: Iterable[Span], excluded: Iterable[Span]) -> Tally:
    demanded, marked, ignored = (
        {at for span in spans for at in range(span.start, span.end) if not text[at].isspace()}
        for spans in (gold, seen, excluded)
    )
    demanded -= ignored
    marked -= ignored
    return Tally(len(demanded & marked), len(marked - demanded), len(demanded - marked))
