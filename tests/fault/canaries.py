"""Words that exist nowhere else, and a search for them in every form they could be written down in."""

import base64
import hashlib
import re
import secrets
import sqlite3
from collections.abc import Iterator
from pathlib import Path


class Canaries:
    """`canary("query")` makes a word for a place in a request; the same place has the same word."""

    def __init__(self) -> None:
        self._words: dict[str, str] = {}

    def __call__(self, place: str) -> str:
        return self._words.setdefault(place, f"zq{re.sub('[^a-z]', '', place)}{secrets.token_hex(6)}")

    def found_in(self, content: bytes, *, but: frozenset[str] = frozenset()) -> set[str]:
        """The places whose word is in `content`, plainly or in disguise."""
        content = content.lower() if content.isascii() else content
        return {
            place
            for place, word in self._words.items()
            if place not in but and any(form in content for form in disguises(word.encode()))
        }


def disguises(text: bytes) -> Iterator[bytes]:
    """A text as it might be written: plain, UTF-16, hex, base64 at any alignment, and under the usual bare hashes."""
    yield text
    yield text.decode().encode("utf-16-le")
    yield text.hex().encode()
    for offset in range(3):
        encoded = base64.b64encode(bytes(offset) + text)
        inner = encoded[4 if offset else 0 : -4]  # without the characters that depend on the neighbours
        yield inner
        yield inner.lower()  # as `found_in` reads texts
    for name in ("md5", "sha1", "sha256", "blake2b"):
        digest = hashlib.new(name, text).digest()
        yield digest
        yield digest.hex().encode()


def written_below(folder: Path) -> Iterator[tuple[str, bytes]]:
    """Name and content of each file, and each row of each SQLite file: long values are not in one piece there."""
    for path in sorted(folder.rglob("*")):
        if not path.is_file():
            continue
        name = str(path.relative_to(folder))
        yield name, path.read_bytes()
        if path.suffix == ".db":
            with sqlite3.connect(f"file:{path}?mode=ro", uri=True) as db:
                for (table,) in db.execute("SELECT name FROM sqlite_schema WHERE type = 'table'").fetchall():
                    for row in db.execute(f'SELECT * FROM "{table}"'):
                        cells = (cell if isinstance(cell, bytes) else str(cell).encode() for cell in row)
                        yield f"{name}:{table}", b"\x00".join(cells)
