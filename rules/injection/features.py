"""Hashed n-grams of characters and words (the hashing trick: Weinberger et al. 2009, arXiv:0902.2206).

Five families in one table: characters 3, 4, 5 with word borders; letters and digits alone 6, 8, which see through
spaces and dots put between the letters of a word; words 1, 2, 3 and pairs with one word between them. Polynomial
rolling hashes are computed for all positions at once, so a window of 200 words costs about 0.1 ms.
"""

import re
import zlib
from typing import Final

import numpy as np
from numpy.typing import NDArray

FEATURES_VERSION: Final = "1"
BUCKET_BITS: Final = 17
BUCKETS: Final = 1 << BUCKET_BITS

_CHAR_SIZES: Final = (3, 4, 5)
_SQUEEZED_SIZES: Final = (6, 8)
_WORD_OFFSETS: Final = ((0,), (0, 1), (0, 1, 2), (0, 2))
_TOKEN: Final = re.compile(r"\w+|[^\w\s]")
_GAPS: Final = re.compile(r"\s+")
_SEPARATORS: Final = re.compile(r"[\W_]+")
_DIGITS: Final = re.compile(r"\d")
_MULTIPLIER: Final = np.uint64(0x9E3779B97F4A7C15)  # 2^64 / golden ratio (Knuth, TAOCP 3, 6.4)
_MIX: Final = np.uint64(0xFF51AFD7ED558CCD)  # finaliser of MurmurHash3


def ngram_buckets(text: str) -> NDArray[np.int32]:
    """Sorted distinct buckets, each in `0..BUCKETS-1`, of a normalised text; case and digits' values are dropped."""
    plain = _DIGITS.sub("0", _GAPS.sub(" ", text.casefold())).strip()
    words = np.array([zlib.crc32(token.encode("utf-8", "replace")) for token in _TOKEN.findall(plain)], dtype=np.uint64)
    spaced = _codes(f" {plain} ")
    squeezed = _codes(_SEPARATORS.sub("", plain))
    hashes = [_rolled(spaced, tuple(range(size)), size) for size in _CHAR_SIZES]
    hashes += [_rolled(squeezed, tuple(range(size)), 16 + size) for size in _SQUEEZED_SIZES]
    hashes += [_rolled(words, offsets, 32 + number) for number, offsets in enumerate(_WORD_OFFSETS)]
    return np.unique(np.concatenate(hashes)).astype(np.int32)


def _codes(text: str) -> NDArray[np.uint64]:
    return np.frombuffer(text.encode("utf-32-le", "replace"), dtype="<u4").astype(np.uint64)


def _rolled(items: NDArray[np.uint64], offsets: tuple[int, ...], salt: int) -> NDArray[np.uint64]:
    """Bucket of the items at `offsets` from each position; `salt` keeps families apart."""
    count = len(items) - offsets[-1]
    if count <= 0:
        return np.empty(0, dtype=np.uint64)
    value = np.full(count, salt, dtype=np.uint64)
    for offset in offsets:
        value = (value + items[offset : offset + count] + np.uint64(1)) * _MULTIPLIER
        value ^= value >> np.uint64(29)
    value = (value ^ (value >> np.uint64(33))) * _MIX
    return value >> np.uint64(64 - BUCKET_BITS)
