"""Trains the injection detector, measures it on sources it has not seen, and writes its weights.

    python -m gateway.evaluation.injection_training ../shared/data rules/injection/weights.npz

1. All rows become features; near-duplicates and windows of one text form groups that no split cuts.
2. Out-of-fold logits of three folds set the thresholds: the lowest at which every kind of benign text keeps its budget
   of false alarms. One mean over all is not enough, since a kind that fails hides in it.
3. The final model is fitted on all rows and quantised. Its SHA-256 belongs into `rules/injection/model.py`.
4. Whole sources are held out in turn (`HOLD_OUTS`); the table says what the detector does on texts of another make.

Deterministic on one machine. About half an hour on one core, half of it embeddings; `--embeddings` keeps them.
"""

import argparse
import hashlib
import importlib
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import Any, Final, TextIO

import numpy as np
from msgspec.structs import replace
from numpy.typing import NDArray

from gateway.evaluation.injection import Rate, auroc, caught, passed, recall_at_budget, threshold_for_budget, worst
from gateway.evaluation.injection_features import Embed, Features, Floats, Logits, embedding, featured, highest, margins
from gateway.evaluation.injection_sets import rows
from rules.injection.fit import fit
from rules.injection.model import Calibration, dump, quantised

DEFAULT_EMBEDDER: Final = "gateway.retrieval.embedding:MiniLmEmbedder"  # named, since siblings do not import each other
BUDGETS: Final[dict[str, tuple[float, float, tuple[str, ...]]]] = {
    "ordinary": (
        *(0.007, 0.003),
        ("s_labs", "neuralchemy", "clinc150", "halueval", "scifact", "presidio", "xquad_en", "joined", "code"),
    ),
    "other languages": (0.007, 0.003, ("xquad_de", "xquad_es")),
    "documents": (
        *(0.005, 0.01),
        (
            *(
                "handbook",
                "handbook:contexts",
                "rhobank",
                "rhobank:tasks",
                "scifact:abstracts",
                "halueval:contexts",
                "bipia:contexts",
            ),
            *("xquad_en:contexts", "xquad_de:contexts", "xquad_es:contexts"),
        ),
    ),
    "harmful or odd": (0.02, 0.02, ("wildguard", "xstest", "ailuminate")),
    "trigger words": (0.05, 0.02, ("hard_en", "hard_other")),
}
"""Shares of each kind of benign text that may be stopped, by windows and by sentences; more where the texts were made
or picked to provoke it."""
HOLD_OUTS: Final[dict[str, tuple[str, ...]]] = {
    "neuralchemy, xquad_de, xstest": ("neuralchemy", "xquad_de", "xstest"),
    "in_the_wild, pyrit, wildguard, xquad_es, scifact": ("in_the_wild", "pyrit", "wildguard", "xquad_es", "scifact"),
    "s_labs, clinc150, halueval, ailuminate": ("s_labs", "clinc150", "halueval", "ailuminate"),
    "bipia, rhobank, presidio": ("bipia", "rhobank", "presidio"),
    "handbook": ("handbook",),
    "all templates": ("hard", "synthetic", "strewn"),
}
_FOLDS: Final = 3
_TAIL: Final = 0.95  # of the parts of benign documents; their logits beyond it fall off exponentially


def calibrated(features: Features, log: TextIO, seed: int = 0) -> Calibration:
    """Thresholds from out-of-fold logits, and how fast benign logits fall off. Writes the out-of-fold rates."""
    names = np.unique(features.groups)
    fold_of = dict(zip(names.tolist(), np.random.default_rng(seed).integers(0, _FOLDS, len(names)), strict=True))
    folds = np.array([fold_of[group] for group in features.groups.tolist()])
    parts = [features.logits(fit(features.samples(folds != fold)), folds == fold) for fold in range(_FOLDS)]
    logits = Logits(
        joint=_merged([part.joint for part in parts]),
        lexical=_merged([part.lexical for part in parts]),
        sentences=_merged([part.sentences for part in parts]),
    )
    documents = [t for t in features.texts if not t.attack and t.source in BUDGETS["documents"][2]]
    per_window = _fall(logits.joint[[i for text in documents for i in text.rows]])
    per_sentence = _fall(logits.sentences[[i for text in documents for i in text.sentences]])
    by_window = [text.rows for text in features.texts]
    by_sentence = [text.sentences for text in features.texts]
    calibration = Calibration(
        joint=_threshold(features, highest(by_window, logits.joint, per_window), 0, log),
        lexical=_threshold(features, highest(by_window, logits.lexical, per_window), 0, log),
        sentence=_threshold(features, highest(by_sentence, logits.sentences, per_sentence), 1, log),
        slope=1.0,
        per_window=per_window,
        per_sentence=per_sentence,
    )
    log.write(f"{calibration}\n\nout of fold\n")
    _table(features, margins(features.texts, logits, calibration), log)
    return calibration


def _merged(parts: Sequence[Floats]) -> Floats:
    merged: Floats = np.nanmax(np.stack(parts), axis=0)
    return merged


def _fall(logits: Floats) -> float:
    """The mean excess over a high quantile, which is the scale of an exponential tail."""
    ordered = np.sort(logits)
    tail = ordered[int(_TAIL * len(ordered)) :]
    return float((tail - tail[0]).mean())


def _threshold(features: Features, scores: Floats, which: int, log: TextIO) -> float:
    """The lowest threshold at which each kind of benign text keeps its budget, the first or the second of the two."""
    found: dict[str, float] = {}
    for kind, (windows, single, sources) in BUDGETS.items():
        index = [i for i, text in enumerate(features.texts) if text.source in sources and not text.attack]
        found[kind] = threshold_for_budget(scores[index], (windows, single)[which])
    log.write(f"thresholds {found}\n")
    return max(found.values())


def held_out(features: Features, sources: tuple[str, ...], calibration: Calibration) -> Floats:
    """Margins of the sources whose names start so, by a model that has seen none of their texts or near-duplicates."""
    touched = np.array([any(name.startswith(sources) for name in (row.source, *row.made_of)) for row in features.rows])
    stained = set(features.groups[touched].tolist())
    clean = np.array([group not in stained for group in features.groups.tolist()])
    logits = features.logits(fit(features.samples(clean)), touched)
    return margins(features.texts, logits, calibration)


def rates(features: Features, scores: Floats) -> dict[str, Rate]:
    """By source, with `+` the share of attacks caught, with `-` the share of benign texts passed."""
    found: dict[str, Rate] = {}
    for attack, sign, rate in ((True, "+", caught), (False, "-", passed)):
        for source in sorted({text.source for text in features.texts if text.attack is attack}):
            index = [i for i, text in enumerate(features.texts) if text.source == source and text.attack is attack]
            judged = scores[index][np.isfinite(scores[index])]
            if len(judged):
                found[f"{source} {sign}"] = rate(judged, 0.0)
    return found


def train(data: Path, target: Path, embed: Embed, log: TextIO) -> None:
    features = featured(rows(data), embed)
    log.write(f"{len(features.rows)} rows in {len(np.unique(features.groups))} groups\n")
    calibration = calibrated(features, log)
    every: NDArray[np.bool_] = np.ones(len(features.rows), dtype=np.bool_)
    weights = quantised(replace(fit(features.samples(every)), calibration=calibration))
    content = dump(weights)
    target.write_bytes(content)
    log.write(f"\n{target} {len(content)} bytes sha256 {hashlib.sha256(content).hexdigest()}\n\nlearnt from\n")
    _table(features, margins(features.texts, features.logits(weights, every), calibration), log)
    for name, sources in HOLD_OUTS.items():
        log.write(f"\nheld out: {name}\n")
        _table(features, held_out(features, sources, calibration), log)


def _table(features: Features, scores: Floats, log: TextIO) -> None:
    found = rates(features, scores)
    log.writelines(f"  {source:34} {rate}\n" for source, rate in found.items())
    judged = np.isfinite(scores)
    attack = np.array([text.attack for text in features.texts])
    attacks, benign = scores[judged & attack], scores[judged & ~attack]
    lowest = worst([rate for source, rate in found.items() if source.endswith("-")])
    log.write(
        f"  auroc {auroc(attacks, benign):.4f}; recall at 1 % false alarms "
        f"{recall_at_budget(attacks, benign, 0.01).recall}; the worst benign source passes {lowest}\n"
    )


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
