"""What the training of the injection detector learns from and judges by: rows as features, texts, and their margins.

A row is a window; a text is what was one text before it was cut, and counts by its highest margin, as in serving.
"""

import hashlib
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from typing import Final, TextIO

import numpy as np
from msgspec import Struct
from numpy.typing import NDArray

from gateway.domain.ports import Embedder
from gateway.evaluation.injection_sets import Row
from rules.injection.features import ngram_buckets
from rules.injection.fit import Samples
from rules.injection.model import Calibration, Weights, inputs
from rules.injection.structure import structure_features
from rules.injection.windows import sentences
from rules.normalise import normalise

Floats = NDArray[np.float32]
Indexes = NDArray[np.int64]
Embed = Callable[[Sequence[str]], Floats]

_ONE_WINDOW: Final = frozenset(
    {"hard_en", "hard_other", "synthetic_en", "synthetic_other", "strewn", "joined", "embedded", "appended"}
)
"""Sources whose rows of one origin are different texts and not windows of one."""
_SKETCH: Final = 24  # smallest permuted buckets that stand for a text (bottom-k sketch, Cohen and Kaplan 2007)
_LOOKED_UP: Final = 12
_COMMON: Final = 60  # texts after which a bucket of sketches is too common to look up
_SIMILAR: Final = 0.7
_EMBEDDED_AT_ONCE: Final = 2_000


class Text(Struct, frozen=True):
    """A text of a source: its windows (rows), and its sentences where it has several (indexes of their features)."""

    source: str
    attack: bool
    rows: list[int]
    sentences: list[int]


class Logits(Struct, frozen=True):
    """Of both networks for rows, or of the lexical one for sentences; `nan` where unknown."""

    joint: Floats
    lexical: Floats
    sentences: Floats


class Features(Struct, frozen=True):
    """Row by row what the networks read and the group that must stay together; the same of the texts' sentences."""

    rows: Sequence[Row]
    buckets: Sequence[NDArray[np.int32]]
    structure: Floats
    embeddings: Floats
    groups: Indexes
    texts: Sequence[Text]
    sentence_buckets: Sequence[NDArray[np.int32]]
    sentence_structure: Floats

    def samples(self, allowed: NDArray[np.bool_]) -> Samples:
        """The allowed rows that have a weight."""
        index = [i for i, row in enumerate(self.rows) if row.weight and allowed[i]]
        return Samples(
            buckets=[self.buckets[i] for i in index],
            structure=self.structure[index],
            embeddings=self.embeddings[index],
            labels=np.array([self.rows[i].attack for i in index], dtype=np.float32),
            weights=np.array([self.rows[i].weight for i in index], dtype=np.float32),
        )

    def logits(self, weights: Weights, judged: NDArray[np.bool_]) -> Logits:
        """Of the judged rows and of the sentences of texts that have one."""
        index = np.flatnonzero(judged).tolist()
        chosen = [i for text in self.texts if judged[text.rows[0]] for i in text.sentences]
        joint, lexical = (np.full(len(self.rows), np.nan, dtype=np.float32) for _ in range(2))
        single = np.full(len(self.sentence_buckets), np.nan, dtype=np.float32)
        read = inputs(weights.table, [self.buckets[i] for i in index], self.structure[index])
        lexical[index] = weights.lexical.logits(read)
        joint[index] = weights.joint.logits(np.concatenate([read, self.embeddings[index]], axis=1))
        read = inputs(weights.table, [self.sentence_buckets[i] for i in chosen], self.sentence_structure[chosen])
        single[chosen] = weights.lexical.logits(read)
        return Logits(joint, lexical, single)


def margins(texts: Sequence[Text], logits: Logits, calibration: Calibration) -> Floats:
    """Of each text the logits above the threshold, by windows and sentences as in serving; `nan` where not judged."""
    windows = highest([text.rows for text in texts], logits.joint, calibration.per_window)
    single = highest([text.sentences for text in texts], logits.sentences, calibration.per_sentence)
    above: Floats = np.maximum(windows - calibration.joint, single - calibration.sentence)
    return above


def highest(parts: Sequence[Sequence[int]], logits: Floats, per_part: float) -> Floats:
    """The highest logit of each text's parts, less what the threshold rises for their number; very low for none."""
    nothing = np.float32(-1e6)
    found = [logits[index].max() - per_part * np.log(len(index)) if index else nothing for index in map(list, parts)]
    return np.array(found, dtype=np.float32)


def featured(found: Sequence[Row], embed: Embed) -> Features:
    plain = [normalise(row.text, leet=True).text for row in found]
    buckets = [ngram_buckets(text) for text in plain]
    texts, single = _texts(found, plain)
    return Features(
        rows=found,
        buckets=buckets,
        structure=np.stack([structure_features(text) for text in plain]),
        embeddings=embed([row.text for row in found]),
        groups=groups(found, buckets),
        texts=texts,
        sentence_buckets=[ngram_buckets(text) for text in single],
        sentence_structure=np.array([structure_features(text) for text in single], dtype=np.float32),
    )


def _texts(found: Sequence[Row], plain: Sequence[str]) -> tuple[list[Text], list[str]]:
    windows: dict[tuple[str, bool, str], list[int]] = {}
    for i, row in enumerate(found):
        whole = row.source in _ONE_WINDOW or row.source.endswith((":sentences", ":narrow"))
        windows.setdefault((row.source, row.attack, row.text if whole else row.origin), []).append(i)
    texts: list[Text] = []
    single: list[str] = []
    for (source, attack, _), index in windows.items():
        parts = dict.fromkeys(plain[i][s.start : s.end] for i in index for s in sentences(plain[i]))
        several = list(parts) if len(parts) > 1 else []
        texts.append(Text(source, attack, index, list(range(len(single), len(single) + len(several)))))
        single += several
    return texts, single


def groups(found: Sequence[Row], buckets: Sequence[NDArray[np.int32]]) -> Indexes:
    """A number for each row, equal for rows of one origin and for near-duplicates (shared n-grams of at least 0.7)."""
    parents = list(range(len(found)))

    def root(i: int) -> int:
        while parents[i] != i:
            parents[i] = parents[parents[i]]
            i = parents[i]
        return i

    origins: dict[str, int] = {}
    looked_up: dict[int, list[int]] = {}
    order = np.random.default_rng(0).permutation(max(int(b[-1]) for b in buckets if len(b)) + 1)
    sketches = [np.sort(order[b])[:_SKETCH] for b in buckets]
    for i, (row, sketch) in enumerate(zip(found, sketches, strict=True)):
        parents[root(i)] = root(origins.setdefault(row.origin, i))
        shared: dict[int, int] = {}
        for bucket in sketch[:_LOOKED_UP].tolist():
            near = looked_up.setdefault(bucket, [])
            for j in near:
                shared[j] = shared.get(j, 0) + 1
            if len(near) < _COMMON:
                near.append(i)
        for j, count in shared.items():
            least = _SIMILAR * min(len(sketch), len(sketches[j]))
            if count >= _LOOKED_UP // 2 and len(np.intersect1d(sketch, sketches[j])) >= least:
                parents[root(i)] = root(j)
    return np.array([root(i) for i in range(len(found))])


def embedding(embedder: Embedder, kept: Path | None, log: TextIO) -> Embed:
    """Embeds with progress; remembers the rows in the file `kept` by the hashes of their texts."""

    def embed(texts: Sequence[str]) -> Floats:
        keys = [hashlib.blake2b(text.encode("utf-8", "surrogatepass"), digest_size=16).hexdigest() for text in texts]
        known: dict[str, Floats] = {}
        if kept and kept.exists():
            with np.load(kept, allow_pickle=False) as file:
                known = dict(zip(file["keys"].tolist(), file["rows"], strict=True))
        missing = {key: text for key, text in zip(keys, texts, strict=True) if key not in known}
        for part in _parts(list(missing), _EMBEDDED_AT_ONCE):
            known |= zip(part, embedder.embed([missing[key] for key in part]).astype(np.float16), strict=True)
            log.write(f"embedded {len(part)} of {len(missing)} texts\n")
        if kept and missing:
            np.savez(kept, allow_pickle=False, keys=np.array(list(known)), rows=np.stack(list(known.values())))
        return np.stack([known[key] for key in keys]).astype(np.float32)

    return embed


def _parts(items: Sequence[str], size: int) -> Iterator[Sequence[str]]:
    for start in range(0, len(items), size):
        yield items[start : start + size]
