"""Text cut where its subject changes: where the embeddings of neighbouring sentences are least alike.

After Hearst 1997 (TextTiling) with sentence embeddings in place of word counts. A sentence is embedded together with
the one before and after it, since a single one says little. Costs an embedding for every sentence.
"""

from collections.abc import Iterator, Sequence
from itertools import pairwise
from typing import Final

import numpy as np
from numpy.typing import NDArray

from gateway.domain.ports import Embedder
from gateway.retrieval.chunk import ChunkingParameters
from gateway.retrieval.packing import Packed, Piece
from gateway.retrieval.windows import Unit, joined, units

_DROP: Final = 1.0  # standard deviations above the mean distance that make a change of subject
_NEW_SECTION: Final = 1.0  # added to the distance where a heading stands: the author says that the subject changes


def topics(pieces: Sequence[Piece], parameters: ChunkingParameters, embedder: Embedder) -> Iterator[Packed]:
    """Runs of units no longer than the target, cut at the greatest distances first."""
    found = list(units(pieces, parameters))
    if not found:
        return
    distances = _distances(found, embedder)
    bound = float(distances.mean() + _DROP * distances.std()) if len(distances) else 0.0
    waiting = [(0, len(found))]
    while waiting:
        start, end = waiting.pop()
        cut = _cut(found, distances, start=start, end=end, bound=bound, parameters=parameters)
        if cut is None:
            yield joined(found[start:end])
        else:
            waiting += [(cut, end), (start, cut)]  # the first part is read next


def _distances(found: Sequence[Unit], embedder: Embedder) -> NDArray[np.float32]:
    """`distances[i]`: 1 - cosine between the surroundings of units `i` and `i + 1`."""
    around = [" ".join(unit.part.text for unit in found[max(0, at - 1) : at + 2]) for at in range(len(found))]
    vectors = embedder.embed(around)
    near: NDArray[np.float32] = 1.0 - np.vecdot(vectors[:-1], vectors[1:])
    headed = [one.part.path != other.part.path for one, other in pairwise(found)]
    distances: NDArray[np.float32] = near + _NEW_SECTION * np.array(headed, np.float32)
    return distances


def _cut(
    found: Sequence[Unit],
    distances: NDArray[np.float32],
    *,
    start: int,
    end: int,
    bound: float,
    parameters: ChunkingParameters,
) -> int | None:
    """Where to cut a run: at its greatest distance that leaves no small end, if it is too long or the subject changes
    there. `None` for a run that stays whole."""
    sizes = [unit.size for unit in found[start:end]]
    total = sum(sizes)
    if end - start < 2:
        return None
    before = np.cumsum(sizes)[:-1]
    inner = distances[start : end - 1].copy()
    fine = (before >= parameters.small_chars) & (total - before >= parameters.small_chars)
    too_long = total > parameters.target_chars
    if not fine.any():
        return start + 1 + int(inner.argmax()) if too_long else None
    inner[~fine] = -np.inf
    best = int(inner.argmax())
    return start + 1 + best if too_long or inner[best] > bound else None
