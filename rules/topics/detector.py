"""The detector `topics`: one score per topic of the policies."""

import hashlib
from collections.abc import Mapping, Sequence
from typing import Final

import msgspec
import numpy as np
from msgspec import Struct
from numpy.typing import NDArray

from gateway.domain.definition import TopicDefinition
from gateway.domain.errors import ConfigurationError
from gateway.domain.ports import Embedder
from gateway.domain.signal import EMPTY_SCAN, Finding, Scan
from gateway.domain.vocabulary import Placement, SignalType
from rules.normalise import NORMALISE_VERSION, View, normalise
from rules.topics.windows import Window, windows

TOPICS_VERSION: Final = "1"

# Fitted on CLINC150's training examples and validation rows; see the package's table.
_NEAREST_SHARE: Final = 0.3  # of the nearest example; the rest is the centre of all
_UNLIKE_WEIGHT: Final = 0.4
_UNLIKE_FROM: Final = 0.3  # cosine below which two sentences are unrelated
_TIGHTNESS_WEIGHT: Final = 0.4
_TIGHTNESS_PRIOR: Final = 0.55  # mean likeness of an example to the others of its topic
_PRIOR_EXAMPLES: Final = 2.0  # how many examples the prior counts as
_MIDDLE: Final = 0.095  # raw nearness that scores 0.5; 0.7 is at 0.18, where 1 % of other rows lie above
_SLOPE: Final = 10.0
_FINDING_FROM: Final = 0.5
_DECIMALS: Final = 4  # beyond, an embedding depends on its batch

Rows = NDArray[np.float32]


class _Topic(Struct, frozen=True):
    """The examples of one topic as unit vectors, and what is subtracted for their tightness."""

    kind: str
    like: Rows
    unlike: Rows
    centre: Rows
    offset: float


class TopicDetector:
    """Signals `topic.<id>` (score); where one is 0.5 or more, a finding of that kind at the nearest sentence.

    The score of a sentence `x` with unit embedding:

        near   = 0.7 cos(x, centre of like) + 0.3 max cos(x, like)            centre as in Snell et al. 2017
        raw    = near - 0.4 max(0, max cos(x, unlike) - 0.3) - 0.4 tightness
        score  = 1 / (1 + exp(-10 (raw - 0.095)))                             Platt 1999

    `tightness` is the mean likeness of each example to the centre of the others, with a prior: scattered examples
    ask for less nearness than examples that all say the same. The score of a text is that of its highest sentence.
    0.7 is a sensible threshold. Scanning blocks; it is thread-safe if the embedder is.

    Raises `ConfigurationError`, naming the topic, for an id that is used twice, a topic without `like`, an empty
    example, or one that stands in both lists.
    """

    name = "topics"
    placement = Placement.THREAD

    def __init__(self, definitions: Sequence[TopicDefinition], embedder: Embedder) -> None:
        if len({definition.id for definition in definitions}) < len(definitions):
            raise ConfigurationError("two topics have the same id: rename one")
        for definition in definitions:
            _check(definition)
        self._embedder = embedder
        self._topics = tuple(_topic(definition, embedder) for definition in definitions)
        self.signals: Mapping[str, SignalType] = {topic.kind: SignalType.SCORE for topic in self._topics}
        canonical = sorted((d.id, sorted(d.like), sorted(d.unlike)) for d in definitions)
        digest = hashlib.sha256(msgspec.json.encode(canonical)).hexdigest()
        self.version = f"{TOPICS_VERSION}+{NORMALISE_VERSION}+{embedder.name}@{embedder.version}+{digest[:16]}"

    def scan(self, texts: Sequence[str]) -> list[Scan]:
        views = [normalise(text) for text in texts]
        pieces = [windows(view.text) for view in views]
        sentences = list(dict.fromkeys(window.text for piece in pieces for window in piece))
        if not self._topics or not sentences:
            return [EMPTY_SCAN for _ in texts]
        scores = self._scores(self._embedder.embed(sentences))
        row_of = {sentence: row for row, sentence in enumerate(sentences)}
        return [
            self._scan(view, piece, scores[[row_of[window.text] for window in piece]]) if piece else EMPTY_SCAN
            for view, piece in zip(views, pieces, strict=True)
        ]

    def _scores(self, rows: Rows) -> Rows:
        """Scores of shape `(sentences, topics)`. A value that is no number must not pass as a low score."""
        scores = np.stack([_score(rows, topic) for topic in self._topics], axis=1)
        if not np.isfinite(scores).all():
            raise FloatingPointError("an embedding is not finite")
        return scores

    def _scan(self, view: View, piece: Sequence[Window], scores: Rows) -> Scan:
        values: dict[str, float] = {}
        findings: list[Finding] = []
        for topic, best in zip(self._topics, scores.argmax(axis=0), strict=True):
            score = round(float(scores[best, len(values)]), _DECIMALS)
            values[topic.kind] = score
            if score >= _FINDING_FROM:
                start, end = view.span(piece[best].start, piece[best].end)
                findings.append(
                    Finding(start=start, end=end, kind=topic.kind, score=score, detector=self.name, evidence="model")
                )
        return Scan(tuple(sorted(findings)), values)


def _check(definition: TopicDefinition) -> None:
    if not definition.like or not all(example.strip() for example in definition.like + definition.unlike):
        raise ConfigurationError(f"topic `{definition.id}` has no example or an empty one: write three or more")
    if set(definition.like) & set(definition.unlike):
        raise ConfigurationError(f"topic `{definition.id}` has an example in both `like` and `unlike`: remove one")


def _topic(definition: TopicDefinition, embedder: Embedder) -> _Topic:
    like = embedder.embed([normalise(example).text for example in definition.like])
    unlike = (
        embedder.embed([normalise(example).text for example in definition.unlike]) if definition.unlike else like[:0]
    )
    total = like.sum(axis=0)
    others = [float(row @ _unit(total - row)) for row in like] if len(like) > 1 else []
    tightness = (sum(others) + _PRIOR_EXAMPLES * _TIGHTNESS_PRIOR) / (len(others) + _PRIOR_EXAMPLES)
    return _Topic(f"topic.{definition.id}", like, unlike, _unit(total), _TIGHTNESS_WEIGHT * tightness)


def _unit(vector: Rows) -> Rows:
    length = float(np.linalg.norm(vector))
    return vector / length if length > 0 else vector


def _score(rows: Rows, topic: _Topic) -> Rows:
    near = (1 - _NEAREST_SHARE) * (rows @ topic.centre) + _NEAREST_SHARE * (rows @ topic.like.T).max(axis=1)
    if len(topic.unlike):
        near = near - _UNLIKE_WEIGHT * np.maximum((rows @ topic.unlike.T).max(axis=1) - _UNLIKE_FROM, 0)
    scores: Rows = 1 / (1 + np.exp(-_SLOPE * (near - topic.offset - _MIDDLE)))
    return scores
