"""Trains the injection detector, measures it on sources it has not seen, and writes its weights.

    python -m gateway.evaluation.injection_training ../shared/data rules/injection/weights.npz

1. All rows become features; near-duplicates and windows of one text form groups that no split cuts.
2. Out-of-fold logits of three folds set the thresholds: the lowest at which every kind of benign text keeps its budget
   of false alarms. One mean over all is not enough, since a kind that fails hides in it.
3. The final model is fitted on all rows and quantised. Its SHA-256 belongs into `rules/injection/model.py`.
4. Whole sources are held out in turn (`HOLD_OUTS`); the table says what the detector does on texts of another make.

Deterministic on one machine. About 15 minutes on one core, most of it embeddings; `--embeddings` keeps them in a file.
"""

import argparse
import hashlib
import importlib
import sys
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from typing import Any, Final, TextIO

import numpy as np
from msgspec import Struct
from msgspec.structs import replace
from numpy.typing import NDArray

from gateway.domain.ports import Embedder
from gateway.evaluation.injection import Rate, caught, passed, threshold_for_budget
from gateway.evaluation.injection_sets import Row, rows
from rules.injection.features import ngram_buckets
from rules.injection.fit import Samples, fit
from rules.injection.model import Calibration, Weights, dump, inputs, quantised
from rules.injection.structure import structure_features
from rules.normalise import normalise

Floats = NDArray[np.float32]
Indexes = NDArray[np.int64]

DEFAULT_EMBEDDER: Final = "gateway.retrieval.embedding:MiniLmEmbedder"  # named, since siblings do not import each other
BUDGETS: Final[dict[str, tuple[float, tuple[str, ...]]]] = {
    "ordinary": (
        0.007,
        ("s_labs", "neuralchemy", "clinc150", "halueval", "scifact", "presidio", "xquad_en", "joined", "code"),
    ),
    "other languages": (0.01, ("xquad_de", "xquad_es")),
    "documents": (
        0.01,
        (
            *("rhobank", "rhobank:tasks", "scifact:abstracts", "halueval:contexts", "bipia:contexts"),
            *("xquad_en:contexts", "xquad_de:contexts", "xquad_es:contexts"),
        ),
    ),
    "harmful or odd": (0.04, ("wildguard", "xstest", "ailuminate")),
    "trigger words": (0.05, ("hard_en", "hard_other")),
}
"""Share of each kind of benign text that may be stopped; more where the texts were made or picked to provoke it."""
HOLD_OUTS: Final[dict[str, tuple[str, ...]]] = {
    "neuralchemy, xquad_de, xstest": ("neuralchemy", "xquad_de", "xstest"),
    "in_the_wild, pyrit, wildguard, xquad_es, scifact": ("in_the_wild", "pyrit", "wildguard", "xquad_es", "scifact"),
    "s_labs, clinc150, halueval, ailuminate": ("s_labs", "clinc150", "halueval", "ailuminate"),
    "bipia, rhobank, presidio": ("bipia", "rhobank", "presidio"),
    "all templates": ("hard", "synthetic", "strewn"),
}
_FOLDS: Final = 3
_SKETCH: Final = 24  # smallest permuted buckets that stand for a text (bottom-k sketch, Cohen and Kaplan 2007)
_LOOKED_UP: Final = 12
_COMMON: Final = 60  # texts after which a bucket of sketches is too common to look up
_SIMILAR: Final = 0.7
_TAIL: Final = 0.95  # of benign windows; their logits beyond it fall off exponentially
_EMBEDDED_AT_ONCE: Final = 2_000


class Features(Struct, frozen=True):
    """Row by row: what the networks read, and the group that must stay together."""

    rows: Sequence[Row]
    buckets: Sequence[NDArray[np.int32]]
    structure: Floats
    embeddings: Floats
    groups: Indexes

    def samples(self, index: Indexes) -> Samples:
        return Samples(
            buckets=[self.buckets[i] for i in index],
            structure=self.structure[index],
            embeddings=self.embeddings[index],
            labels=np.array([self.rows[i].attack for i in index], dtype=np.float32),
            weights=np.array([self.rows[i].weight for i in index], dtype=np.float32),
        )

    def logits(self, weights: Weights, index: Indexes) -> "Logits":
        lexical = inputs(weights.table, [self.buckets[i] for i in index], self.structure[index])
        joint = np.concatenate([lexical, self.embeddings[index]], axis=1)
        return Logits(weights.lexical.logits(lexical), weights.joint.logits(joint))


class Logits(Struct, frozen=True):
    lexical: Floats
    joint: Floats


def featured(found: Sequence[Row], embed: Callable[[Sequence[str]], Floats]) -> Features:
    plain = [normalise(row.text, leet=True).text for row in found]
    buckets = [ngram_buckets(text) for text in plain]
    structure = np.stack([structure_features(text) for text in plain])
    return Features(found, buckets, structure, embed([row.text for row in found]), groups(found, buckets))


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


def calibrated(features: Features, log: TextIO, seed: int = 0) -> Calibration:
    """Thresholds from out-of-fold logits, and how fast benign logits fall off. Writes the out-of-fold rates."""
    names = np.unique(features.groups)
    fold_of = dict(zip(names.tolist(), np.random.default_rng(seed).integers(0, _FOLDS, len(names)), strict=True))
    folds = np.array([fold_of[group] for group in features.groups.tolist()])
    lexical, joint = np.zeros(len(folds), np.float32), np.zeros(len(folds), np.float32)
    for fold in range(_FOLDS):
        test = np.flatnonzero(folds == fold)
        logits = features.logits(fit(features.samples(_learnt(features, folds != fold))), test)
        lexical[test], joint[test] = logits.lexical, logits.joint
    documents = [i for i, row in enumerate(features.rows) if not row.attack and ":" in row.source]
    benign = np.sort(joint[documents])
    tail = benign[int(_TAIL * len(benign)) :]
    log.write(f"thresholds {_thresholds(features, joint)} lexical {_thresholds(features, lexical)}\n")
    calibration = Calibration(
        joint=max(_thresholds(features, joint).values()),
        lexical=max(_thresholds(features, lexical).values()),
        slope=1.0,
        per_window=float((tail - tail[0]).mean()),  # the mean excess of an exponential tail is its scale
    )
    log.write(f"{calibration}\n\nout of fold\n")
    _table(_rates(features, joint, calibration.joint), log)
    return calibration


def _thresholds(features: Features, logits: Floats) -> dict[str, float]:
    """For each kind of benign text the threshold that keeps its budget, a text counting by its highest window."""
    return {
        kind: threshold_for_budget(
            np.concatenate([_by_text(features, logits, source, attack=False) for source in sources]), budget
        )
        for kind, (budget, sources) in BUDGETS.items()
    }


def held_out(features: Features, sources: tuple[str, ...], calibration: Calibration) -> dict[str, Rate]:
    """Rates on the sources whose names start so, by a model that has seen none of their texts or near-duplicates."""
    touched = np.array([any(name.startswith(sources) for name in (row.source, *row.made_of)) for row in features.rows])
    stained = set(features.groups[touched].tolist())
    clean = np.array([group not in stained for group in features.groups.tolist()])
    weights = fit(features.samples(_learnt(features, clean)))
    return rates(features, weights, calibration, np.flatnonzero(touched))


def rates(features: Features, weights: Weights, calibration: Calibration, index: Indexes) -> dict[str, Rate]:
    """By source, with `+` the share of attacks caught, with `-` the share of benign texts passed."""
    logits = np.full(len(features.rows), -np.inf, dtype=np.float32)
    logits[index] = features.logits(weights, index).joint
    return _rates(features, logits, calibration.joint)


def _rates(features: Features, logits: Floats, threshold: float) -> dict[str, Rate]:
    found: dict[str, Rate] = {}
    for attack, sign, rate in ((True, "+", caught), (False, "-", passed)):
        for source in sorted(_sources(features, attack=attack)):
            scores = _by_text(features, logits, source, attack=attack)
            scores = scores[np.isfinite(scores)]
            if len(scores):
                found[f"{source} {sign}"] = rate(scores, threshold)
    return found


def _sources(features: Features, *, attack: bool) -> set[str]:
    return {row.source for row in features.rows if row.attack is attack}


def _by_text(features: Features, logits: Floats, source: str, *, attack: bool) -> Floats:
    highest: dict[str, float] = {}
    for row, logit in zip(features.rows, logits.tolist(), strict=True):
        if row.source == source and row.attack is attack:
            key = row.text if source in _ONE_WINDOW else row.origin
            highest[key] = max(highest.get(key, -np.inf), logit)
    return np.array(list(highest.values()), dtype=np.float32)


_ONE_WINDOW: Final = frozenset(
    {"hard_en", "hard_other", "synthetic_en", "synthetic_other", "strewn", "joined", "embedded", "appended"}
)
"""Sources whose rows of one origin are different texts and not windows of one."""


def _learnt(features: Features, allowed: NDArray[np.bool_]) -> Indexes:
    return np.array([i for i, row in enumerate(features.rows) if row.weight and allowed[i]])


def embedding(embedder: Embedder, kept: Path | None, log: TextIO) -> Callable[[Sequence[str]], Floats]:
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


def train(data: Path, target: Path, embed: Callable[[Sequence[str]], Floats], log: TextIO) -> None:
    features = featured(rows(data), embed)
    log.write(f"{len(features.rows)} rows in {len(np.unique(features.groups))} groups\n")
    calibration = calibrated(features, log)
    weights = fit(features.samples(_learnt(features, np.ones(len(features.rows), dtype=np.bool_))))
    weights = quantised(replace(weights, calibration=calibration))
    content = dump(weights)
    target.write_bytes(content)
    log.write(f"\n{target} {len(content)} bytes sha256 {hashlib.sha256(content).hexdigest()}\n")
    log.write("\nlearnt from\n")
    _table(rates(features, weights, calibration, np.arange(len(features.rows))), log)
    for name, sources in HOLD_OUTS.items():
        log.write(f"\nheld out: {name}\n")
        _table(held_out(features, sources, calibration), log)


def _table(found: dict[str, Rate], log: TextIO) -> None:
    log.writelines(f"  {source:34} {rate}\n" for source, rate in found.items())


def main(arguments: Sequence[str] | None = None) -> None:
    parser = argparse.ArgumentParser(prog="python -m gateway.evaluation.injection_training", description=__doc__)
    parser.add_argument("data", type=Path, help="folder of the labelled sets")
    parser.add_argument("target", type=Path, help="file to write")
    parser.add_argument("--embedder", default=DEFAULT_EMBEDDER, help="`module:Class` of the embeddings")
    parser.add_argument("--embeddings", type=Path, help="file that keeps embeddings between runs")
    options = parser.parse_args(arguments)
    module, _, name = options.embedder.partition(":")
    embedder: Any = getattr(importlib.import_module(module), name)()
    train(options.data, options.target, embedding(embedder, options.embeddings, sys.stdout), sys.stdout)


if __name__ == "__main__":
    main()
