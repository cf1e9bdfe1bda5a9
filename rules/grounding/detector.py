"""The detectors `grounding` and `citation`: whether an answer is supported by the passages it was made of.

They find sentences that hold numbers, names or words that no passage has, that say the opposite of a near sentence, and
citations of what is no passage or does not say it. They miss wrong statements in the passages' own words (who did what
to whom), and arithmetic. A sentence that asks, greets or says that it does not know claims nothing and is not judged;
one without passages, or in another language than theirs, is `unknown`.

Cost: reading passages 40 microseconds a sentence, once while they are remembered; judging a sentence 0.1 to 0.2 ms. No
model.
"""

from collections.abc import Mapping, Sequence
from functools import cached_property
from typing import Final

from gateway.domain.grounds import NO_GROUNDS, Grounds, Support
from gateway.domain.signal import EMPTY_SCAN, Finding, Scan, SignalValue
from gateway.domain.vocabulary import Placement, SignalType
from rules.grounding.evidence import Evidence, evidence_of
from rules.grounding.sentences import Sentence, sentences
from rules.grounding.support import GROUNDING_VERSION, Judgement, judge
from rules.grounding.words import Claim, load, read

UNSUPPORTED: Final = "grounding.unsupported"
CONTRADICTED: Final = "grounding.contradicted"
UNKNOWN: Final = "grounding.unknown"
INVALID: Final = "citation.invalid"
MISSING: Final = "citation.missing"

_KINDS: Final[Mapping[Support, str]] = {
    Support.UNSUPPORTED: UNSUPPORTED,
    Support.CONTRADICTED: CONTRADICTED,
    Support.UNKNOWN: UNKNOWN,
}


class GroundingDetector:
    """Signals `grounding.unsupported` (the score of the worst sentence; 0.5 is where a sentence is unsupported),
    `grounding.contradicted` and `grounding.unknown` (flags). A finding of the same kind covers each such sentence, with
    its citation, and says why as its evidence. Thread-safe. Bound to nothing it answers `unknown`."""

    name = "grounding"
    version = GROUNDING_VERSION
    placement = Placement.THREAD
    signals: Mapping[str, SignalType] = {
        UNSUPPORTED: SignalType.SCORE,
        CONTRADICTED: SignalType.FLAG,
        UNKNOWN: SignalType.FLAG,
    }

    def __init__(self, grounds: Grounds = NO_GROUNDS) -> None:
        load()
        self._grounds = grounds

    def on(self, grounds: Grounds) -> "GroundingDetector":
        """The same detector for answers made of these grounds."""
        return GroundingDetector(grounds)

    def scan(self, texts: Sequence[str]) -> list[Scan]:
        return [self._scan(text) for text in texts]

    @cached_property
    def _evidence(self) -> Evidence:
        return evidence_of(self._grounds.passages, self._grounds.question)

    def _scan(self, text: str) -> Scan:
        findings: list[Finding] = []
        values: dict[str, SignalValue] = {}
        for sentence, claim in _claims(text):
            found = judge(claim, self._evidence)
            if found.score:
                values[UNSUPPORTED] = max(values.get(UNSUPPORTED, 0.0), found.score)
            if found.support is Support.SUPPORTED:
                continue
            kind = _KINDS[found.support]
            if kind != UNSUPPORTED:
                values[kind] = True
            findings.append(_finding(kind, sentence.start, sentence.end, self.name, found))
        return Scan(tuple(findings), values) if values else EMPTY_SCAN


class CitationDetector:
    """Signals `citation.invalid` (a citation names no passage that the model was shown, or one that does not support
    its sentence) and `citation.missing` (a sentence that claims something cites nothing, nor does what follows it in
    its paragraph; so rules on it should read whole answers). A finding covers the marker, or the sentence. Nothing is
    missing where there were no passages. Thread-safe."""

    name = "citation"
    version = GROUNDING_VERSION
    placement = Placement.THREAD
    signals: Mapping[str, SignalType] = {INVALID: SignalType.FLAG, MISSING: SignalType.FLAG}

    def __init__(self, grounds: Grounds = NO_GROUNDS) -> None:
        load()
        self._grounds = grounds
        self._known: dict[frozenset[int], Evidence] = {}

    def on(self, grounds: Grounds) -> "CitationDetector":
        """The same detector for answers made of these grounds."""
        return CitationDetector(grounds)

    def scan(self, texts: Sequence[str]) -> list[Scan]:
        return [self._scan(text) for text in texts]

    def support(self, answer: str) -> dict[int, Support]:
        """What each cited passage says of the sentences that cite it: the worst of them, by its number. A passage that
        is cited together with others supports a sentence if all of them together do."""
        found: dict[int, Support] = {}
        for sentence in sentences(answer):
            known = self._cited(sentence)
            if not known:
                continue
            judged = self._judge(read(sentence.text), known).support
            for number in known:
                found[number] = max(found.get(number, Support.SUPPORTED), judged, key=_BADNESS.__getitem__)
        return found

    def _scan(self, text: str) -> Scan:
        findings: list[Finding] = []
        shown = range(1, len(self._grounds.passages) + 1)
        read_all = list(sentences(text))
        for sentence, covered in zip(read_all, _covered(text, read_all), strict=True):
            findings += [
                Finding(start=start, end=end, kind=INVALID, detector=self.name, evidence="no_such_passage")
                for number, start, end in sentence.cited
                if number not in shown
            ]
            claim = read(sentence.text)
            if not sentence.claims or claim.empty:
                continue
            known = self._cited(sentence)
            if known:
                judged = self._judge(claim, known)
                if judged.support in {Support.UNSUPPORTED, Support.CONTRADICTED}:
                    places = {(start, end) for number, start, end in sentence.cited if number in known}
                    findings += [_finding(INVALID, start, end, self.name, judged) for start, end in sorted(places)]
            elif shown and not covered:
                found = Judgement(Support.UNKNOWN, why="no_marker")
                findings.append(_finding(MISSING, sentence.start, sentence.end, self.name, found))
        if not findings:
            return EMPTY_SCAN
        return Scan(tuple(sorted(set(findings))), {finding.kind: True for finding in findings})

    def _cited(self, sentence: Sentence) -> frozenset[int]:
        return frozenset(number for number, _, _ in sentence.cited if 1 <= number <= len(self._grounds.passages))

    def _judge(self, claim: Claim, numbers: frozenset[int]) -> Judgement:
        if claim.empty:
            return Judgement(Support.SUPPORTED)
        evidence = self._known.get(numbers)
        if evidence is None:
            chosen = [self._grounds.passages[number - 1] for number in sorted(numbers)]
            evidence = self._known[numbers] = evidence_of(chosen, self._grounds.question)
        return judge(claim, evidence)


_BADNESS: Final[Mapping[Support, int]] = {
    Support.SUPPORTED: 0,
    Support.UNKNOWN: 1,
    Support.UNSUPPORTED: 2,
    Support.CONTRADICTED: 3,
}


def _covered(text: str, read_all: Sequence[Sentence]) -> list[bool]:
    """For each sentence whether it or one that follows in the same paragraph cites anything."""
    found: list[bool] = []
    for sentence in reversed(read_all):
        ends = "\n" in text[sentence.start : sentence.end]
        found.append(bool(sentence.cited) or (bool(found) and not ends and found[-1]))
    return found[::-1]


def _claims(text: str) -> list[tuple[Sentence, Claim]]:
    read_all = ((sentence, read(sentence.text)) for sentence in sentences(text) if sentence.claims)
    return [(sentence, claim) for sentence, claim in read_all if not claim.empty]


def _finding(kind: str, start: int, end: int, detector: str, found: Judgement) -> Finding:
    return Finding(start=start, end=end, kind=kind, score=found.score or 1.0, detector=detector, evidence=found.why)
