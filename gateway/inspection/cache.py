"""Scans kept per distinct text, so that a turn of a chat costs what its new text costs (P5)."""

import hashlib
from collections import OrderedDict
from typing import Final

from gateway.domain.errors import ConfigurationError
from gateway.domain.signal import EMPTY_SCAN, Scan

_DIGEST_BYTES: Final = 16  # keyed, so that nobody can search for the collision a birthday would need 2^64 texts for
_ENTRY_BYTES: Final = 400  # key, place in the order, the scan itself; measured with tracemalloc
_FINDING_BYTES: Final = 200
_VALUE_BYTES: Final = 300  # a small dict or set costs its first slots
_KIND_BYTES: Final = 80


class ScanCache:
    """Least recently used scans, bounded in bytes (estimated from above; at most one entry more is held while
    it is being stored). Keys are keyed BLAKE2b hashes: neither a text nor anything that could be looked up
    without `key` is held. Not thread-safe: it belongs to the event loop."""

    def __init__(self, limit_bytes: int, key: bytes) -> None:
        if not 16 <= len(key) <= hashlib.blake2b.MAX_KEY_SIZE:
            raise ConfigurationError(f"the key of the inspection cache has `{len(key)}` bytes: give 16 to 64")
        self._limit = limit_bytes
        self._keyed = hashlib.blake2b(key=key, digest_size=_DIGEST_BYTES)
        self._scans: OrderedDict[bytes, Scan] = OrderedDict()
        self.size_bytes = 0

    def __len__(self) -> int:
        return len(self._scans)

    def digest(self, text: str) -> bytes:
        """16 bytes that stand for the text."""
        keyed = self._keyed.copy()
        keyed.update(text.encode("utf-8", "surrogatepass"))
        return keyed.digest()

    def get(self, key: bytes) -> Scan | None:
        scan = self._scans.get(key)
        if scan is not None:
            self._scans.move_to_end(key)
        return scan

    def put(self, key: bytes, scan: Scan) -> None:
        """Keep `scan`, forgetting the least recently used ones. A scan larger than the cache is not kept."""
        size = _footprint(scan)
        if size > self._limit:
            return
        replaced = self._scans.pop(key, None)
        if replaced is not None:
            self.size_bytes -= _footprint(replaced)
        self._scans[key] = scan
        self.size_bytes += size
        while self.size_bytes > self._limit:
            _, forgotten = self._scans.popitem(last=False)
            self.size_bytes -= _footprint(forgotten)


def _footprint(scan: Scan) -> int:
    if scan is EMPTY_SCAN:
        return _ENTRY_BYTES
    size = _ENTRY_BYTES + _FINDING_BYTES * len(scan.findings) + _VALUE_BYTES * len(scan.values)
    for value in scan.values.values():
        if isinstance(value, frozenset):
            size += _VALUE_BYTES + _KIND_BYTES * len(value)
    return size
