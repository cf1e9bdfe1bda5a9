"""Prompt injection: texts that try to give the assistant new orders, lift its rules, or draw out its instructions.

Finds: overrides ("ignore all previous instructions"), role play without rules, requests for the system prompt, fake
delimiters and system messages, claimed authority, orders to the model inside documents; also behind look-alike
letters, leetspeak, spaces, invisible characters, base64, hex, percent, rot13 and mirrored text.

Misses: adaptive attacks. Whoever may try often gets past any detector ("The Attacker Moves Second", 2025: twelve
defences, most broken above 90 %), so no decision to trust a text may rest on a low score. Questions off the topic that
stand in a document are no injection by their words and are not seen; nor are harmful questions, which are another
risk's business. Languages beyond those of the templates are judged by what they share with them.

Costs beside the shared embedding: 0.3 ms of one core for a sentence, 0.9 ms for two longer ones, 11 ms for 300 words,
5 s for 900,000 characters; a longer text has up to four more windows embedded, 20 to 40 ms each. Memory 1 MB.

Measured at a score of 0.5 by `gateway/evaluation/injection_training.py`, with 95 % Wilson intervals. "Fold": texts and
near-duplicates not learnt from, others of the source learnt from; the thresholds were set on the same folds, which
flatters the benign figures a little. "Source": nothing of the source learnt from, though the thresholds knew it.

    attacks caught          fold                    source
    S-Labs                  0.913 [0.905, 0.921]    0.341 [0.328, 0.355]   its labels follow a taste of their own
    neuralchemy_v1          0.929 [0.913, 0.942]    0.449 [0.421, 0.477]   one-line shell payloads in leetspeak
    hackaprompt             0.949 [0.937, 0.958]    0.321 [0.299, 0.344]   fragments that make a model say one phrase
    in-the-wild jailbreaks  0.912 [0.875, 0.938]    0.868 [0.826, 0.900]
    PyRIT templates         0.993 [0.976, 0.998]    0.940 [0.907, 0.962]
    BIPIA, with orders      0.930 [0.863, 0.966]    0.630 [0.532, 0.718]
    BIPIA, plain questions  0.000 [0.000, 0.133]    not learnt from
    planted in documents    0.874 [0.860, 0.886]    windows of 40 words
    benign passed
    trigger words, English  0.944 [0.932, 0.954]    0.873 [0.857, 0.888]   our templates
    trigger words, others   0.964 [0.946, 0.976]    0.951 [0.932, 0.965]
    WildGuard benign        0.953 [0.929, 0.969]    0.858 [0.823, 0.887]   role plays that look like jailbreaks
    XSTest                  1.000 [0.983, 1.000]    1.000 [0.983, 1.000]
    CLINC150                0.996 [0.993, 0.997]    0.994 [0.991, 0.995]
    S-Labs, neuralchemy     0.990, 0.988            0.995, 0.974
    XQuAD German, Spanish   1.000 [0.997, 1.000]    1.000 [0.997, 1.000]
    Rho-Bank documents      1.000 [0.995, 1.000]    0.973 [0.958, 0.983]
    our handbook, pages     1.000 [0.932, 1.000]    1.000 [0.932, 1.000]
    our handbook, sections  0.997 [0.983, 0.999]    0.976 [0.953, 0.988]

Own texts that neither templates nor thresholds were made in view of (`tests/rules/injection/*_unseen.txt`): 0.975
[0.871, 0.996] of 40 benign ones passed, 0.778 [0.548, 0.910] of 18 attacks caught. So attacks of a known make are
caught nine times in ten, those of a new make between a third and nine times in ten: the goal of 0.80 on unseen attacks
is met for jailbreaks and not in general.
"""

import math
from collections.abc import Iterator, Mapping, Sequence
from typing import Final

import numpy as np
from msgspec import Struct
from numpy.typing import NDArray

from gateway.domain.ports import Embedder
from gateway.domain.signal import EMPTY_SCAN, Finding, Scan
from gateway.domain.text import outline
from gateway.domain.vocabulary import Placement, SignalType
from rules.injection.features import FEATURES_VERSION, ngram_buckets
from rules.injection.model import WEIGHTS_SHA256, Weights, inputs, packaged
from rules.injection.structure import ENCODED, INVISIBLE, OTHER, STRUCTURE_VERSION, hits, structure_features
from rules.injection.views import VIEWS_VERSION, Disguise, Payload, payloads
from rules.injection.windows import NARROW_STRIDE, NARROW_WORDS, WIDE_STRIDE, WIDE_WORDS, sentences, windows
from rules.normalise import NORMALISE_VERSION, View, normalise

SCORE: Final = "injection.score"
KINDS: Final = "injection.kinds"
OPERATING_POINT: Final = 0.5
"""The score that a policy on user turns should use: the budget of false alarms is spent there. Documents pass it too
(see the table); a policy that would rather miss an attack than lose a passage takes 0.7 for passages."""

_DETECTOR_VERSION: Final = "1"
_HIDDEN_SCORE: Final = 0.9  # of legible text in invisible characters, whatever it says: nobody hides what is harmless
_SIGNIFICANT_EDITS: Final = 0.1  # share of words that normalisation changed, from which the plain text is embedded
_MORE_EMBEDDED: Final = 4  # windows of a text beyond its beginning that are embedded: the most suspicious ones
_WORTH_EMBEDDING: Final = -1.0  # lexical logits below the threshold; farther away the embedding has no say
_MAX_FINDINGS: Final = 64


class _Cut(Struct, frozen=True):
    """A window or a sentence of the normalised text or of a payload: `[start, end)` of the received text, and how
    many of its size there are."""

    text: str
    start: int
    end: int
    count: int
    sentence: bool
    payload: Payload | None

    def __repr__(self) -> str:
        return f"_Cut({self.start}, {self.end}, {outline(self.text)})"


class _Piece(Struct, kw_only=True):
    """What is known of a cut. `margin` is in logits above the threshold."""

    cut: _Cut
    features: NDArray[np.float32]
    margin: float


class _Reading(Struct, frozen=True, kw_only=True):
    """A received text, as a reader sees it, with what it hides."""

    text: str
    view: View
    payloads: tuple[Payload, ...]
    pieces: list[_Piece]

    def most_suspicious(self) -> list[_Piece]:
        """The beginning, and a bounded number of others that the embedding could make guilty."""
        rest = [p for p in self.pieces[1:] if p.margin > _WORTH_EMBEDDING and not p.cut.sentence]
        return self.pieces[:1] + sorted(rest, key=lambda piece: -piece.margin)[:_MORE_EMBEDDED]

    def __repr__(self) -> str:
        return f"_Reading({outline(self.text)}, {len(self.pieces)} pieces)"


class InjectionDetector:
    """Port `Detector`. Signals `injection.score` (0.5 is the operating point for user turns) and `injection.kinds`.

    `joins_user_turns` asks the caller to have the last four user turns judged as one text besides each alone, since
    an order may be split over turns. Thread-safe: holds read-only arrays. Raises what the embedder raises.
    """

    name = "injection"
    placement = Placement.THREAD
    signals: Mapping[str, SignalType] = {SCORE: SignalType.SCORE, KINDS: SignalType.KINDS}
    joins_user_turns = 4

    def __init__(self, embedder: Embedder, weights: Weights | None = None) -> None:
        self._embedder = embedder
        self._weights = weights or packaged()
        self.version = (
            f"{_DETECTOR_VERSION}.{STRUCTURE_VERSION}.{FEATURES_VERSION}.{VIEWS_VERSION}"
            f"+{WEIGHTS_SHA256[:12]}+{NORMALISE_VERSION}+{embedder.version}"
        )

    def scan(self, texts: Sequence[str]) -> list[Scan]:
        readings = [self._read(text) for text in texts]
        self._weigh_with_embeddings(readings)
        return [self._scan(reading) for reading in readings]

    def _read(self, text: str) -> _Reading:
        """The cuts of the text, its first wide one in front, then those of its payloads, by n-grams alone."""
        view = normalise(text, leet=True)
        hidden = tuple(payloads(text))
        cut = list(_cut(view))
        for payload in hidden:
            cut += _cut(View(normalise(payload.text, leet=True).text), payload)
        return _Reading(text=text, view=view, payloads=hidden, pieces=self._weighed(cut))

    def _weighed(self, cut: Sequence[_Cut]) -> list[_Piece]:
        if not cut:
            return []
        features = inputs(
            self._weights.table,
            [ngram_buckets(window.text) for window in cut],
            np.stack([structure_features(window.text) for window in cut]),
        )
        logits = self._weights.lexical.logits(features).tolist()
        calibration = self._weights.calibration
        thresholds = [
            calibration.sentence + calibration.per_sentence * math.log(window.count)
            if window.sentence
            else calibration.lexical + calibration.per_window * math.log(window.count)
            for window in cut
        ]
        return [
            _Piece(cut=window, features=row, margin=logit - threshold)
            for window, row, logit, threshold in zip(cut, features, logits, thresholds, strict=True)
        ]

    def _weigh_with_embeddings(self, readings: Sequence[_Reading]) -> None:
        """Replace the margins of the beginnings and of the most suspicious windows by the joint network's."""
        chosen: list[_Piece] = []
        wording: list[str] = []
        for reading in readings:
            for number, piece in enumerate(reading.most_suspicious()):
                chosen.append(piece)
                # the text as received shares its embedding with retrieval and topics
                as_received = number == 0 and not _disguised(reading.text, piece.cut.text)
                wording.append(reading.text if as_received else piece.cut.text)
        if not chosen:
            return
        rows = np.concatenate([np.stack([piece.features for piece in chosen]), self._embedder.embed(wording)], axis=1)
        calibration = self._weights.calibration
        for piece, logit in zip(chosen, self._weights.joint.logits(rows).tolist(), strict=True):
            piece.margin = logit - calibration.joint - calibration.per_window * math.log(piece.cut.count)

    def _scan(self, reading: _Reading) -> Scan:
        hidden = [payload for payload in reading.payloads if payload.disguise is Disguise.INVISIBLE]
        if not reading.pieces and not hidden:
            return EMPTY_SCAN
        score = max((self._score(piece) for piece in reading.pieces), default=0.0)
        if any(payload.text for payload in hidden):
            score = max(score, _HIDDEN_SCORE)
        findings = [self._finding(payload.start, payload.end, INVISIBLE, score, payload.disguise) for payload in hidden]
        if score >= OPERATING_POINT:
            findings += self._explanations(reading, score)
        values: dict[str, float | frozenset[str]] = {SCORE: round(score, 4)}
        if findings:
            values[KINDS] = frozenset(finding.kind for finding in findings)
        return Scan(tuple(sorted(set(findings))[:_MAX_FINDINGS]), values)

    def _score(self, piece: _Piece) -> float:
        return 1 / (1 + math.exp(-max(-30.0, min(30.0, self._weights.calibration.slope * piece.margin))))

    def _explanations(self, reading: _Reading, score: float) -> Iterator[Finding]:
        """What the structure of the text and of its guilty payloads shows; the guilty window if it shows nothing."""
        shown = hits(reading.view.text)
        for hit in shown:
            yield self._finding(*reading.view.span(hit.start, hit.end), hit.kind, score, "pattern")
        guilty = [piece for piece in reading.pieces if self._score(piece) >= OPERATING_POINT]
        for piece in guilty:
            if (payload := piece.cut.payload) is None:
                continue
            if payload.disguise is not Disguise.INVISIBLE:
                yield self._finding(payload.start, payload.end, ENCODED, self._score(piece), payload.disguise)
            for kind in {hit.kind for hit in hits(piece.cut.text)}:
                yield self._finding(payload.start, payload.end, kind, self._score(piece), payload.disguise)
        plain = [piece for piece in guilty if piece.cut.payload is None]
        if plain and not shown:
            worst = max(plain, key=lambda piece: piece.margin)
            yield self._finding(worst.cut.start, worst.cut.end, OTHER, self._score(worst), "model")

    def _finding(self, start: int, end: int, kind: str, score: float, evidence: str) -> Finding:
        return Finding(
            start=start, end=end, kind=kind, score=round(score, 4), detector=self.name, evidence=str(evidence)
        )


def _cut(view: View, payload: Payload | None = None) -> Iterator[_Cut]:
    """Windows and sentences of a text, or of a payload in it, whose cuts all lie where the payload lies."""
    wide = windows(view.text, words=WIDE_WORDS, stride=WIDE_STRIDE)
    narrow = windows(view.text, words=NARROW_WORDS, stride=NARROW_STRIDE)
    single = sentences(view.text)
    for cut, sentence in ((wide, False), (narrow, False), (single, True)):
        for window in cut if len(cut) > 1 or cut is wide else ():
            start, end = (payload.start, payload.end) if payload else view.span(window.start, window.end)
            yield _Cut(view.text[window.start : window.end], start, end, len(cut), sentence, payload)


def _disguised(received: str, plain: str) -> bool:
    """Whether normalisation changed so many words that the embedding of the received text says little."""
    before, after = received.split()[:WIDE_WORDS], plain.split()
    if len(before) != len(after):
        return len(before) < len(after) or not received.isascii()
    changed = sum(a != b for a, b in zip(before, after, strict=True))
    return changed > max(1, _SIGNIFICANT_EDITS * len(after))
