"""Reads the steps of a document for authors: commands with what they print, and files with what is changed in them.

A console block holds commands behind `$ `, each followed by lines of its output; `…` stands for any text, and lines may
be left out. `exit=1` after `console` is the exit code of its commands. A comment before another block says what to do
with it: `<!-- in: FILE -->` writes it, `<!-- in: FILE from: KEY -->` puts it in place of everything from that key on,
`<!-- edit: FILE -->` takes it as a diff whose removed and added lines stand for each other in runs. `<!-- NAME -->`
calls for what the test knows by that name.
"""

import re
from collections.abc import Iterator
from typing import NamedTuple

_BLOCK = re.compile(
    r"<!-- (?P<mark>[^>]*?) -->|^```(?P<kind>\w+)(?: exit=(?P<exit>\d+))?\n(?P<text>.*?)^```$", re.DOTALL | re.MULTILINE
)


class Command(NamedTuple):
    words: str
    output: tuple[str, ...]
    exit: int


class Written(NamedTuple):
    """`key` is where the text begins in the file, "" for the whole file."""

    file: str
    key: str
    text: str


class Edited(NamedTuple):
    file: str
    changes: tuple[tuple[str, str], ...]


class Called(NamedTuple):
    name: str


Step = Command | Written | Edited | Called


def steps(document: str) -> Iterator[Step]:
    mark = ""
    for match in _BLOCK.finditer(document):
        if match["mark"] is not None:
            mark = match["mark"]
            if ":" not in mark:
                yield Called(mark)
                mark = ""
            continue
        if match["kind"] == "console":
            yield from _commands(match["text"], int(match["exit"] or 0))
        elif mark.startswith("in: "):
            file, _, key = mark.removeprefix("in: ").partition(" from: ")
            yield Written(file, key, match["text"])
        elif mark.startswith("edit: "):
            yield Edited(mark.removeprefix("edit: "), tuple(_changes(match["text"])))
        mark = ""


def _commands(text: str, code: int) -> Iterator[Command]:
    for one in re.split(r"^\$ ", text, flags=re.MULTILINE)[1:]:
        words, *output = one.splitlines()
        yield Command(words, tuple(line for line in output if line), code)


def _changes(text: str) -> Iterator[tuple[str, str]]:
    for run in re.findall(r"((?:^-.*\n)+)((?:^\+.*\n)+)", text, flags=re.MULTILINE):
        old, new = ("".join(f"{line[1:]}\n" for line in part.splitlines()) for part in run)
        yield old, new


def shows(output: str, line: str) -> bool:
    """Whether one line of the output is this one, where `…` stands for any text."""
    wanted = ".*".join(re.escape(part) for part in line.split("…"))
    return re.search(rf"^{wanted}$", output, re.MULTILINE) is not None
