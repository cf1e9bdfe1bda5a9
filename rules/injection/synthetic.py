"""Training texts of our own: templates with slots, in `training/*.txt`.

`benign.txt` holds the words of attacks in innocent use, `attacks.txt` attacks in twenty languages, so that neither a
trigger word nor a language predicts the label; `words.txt` are words to strew over benign texts.
"""

import random
import re
from collections.abc import Iterator, Sequence
from importlib import resources
from typing import Final

from msgspec import Struct

_SLOT: Final = re.compile(r"\{(\w+)\}")
_LANGUAGE: Final = re.compile(r"\[(\w\w)\]")


class Template(Struct, frozen=True):
    """A text with `{slots}`, its language, and the values of the slots."""

    text: str
    language: str
    slots: dict[str, tuple[str, ...]]

    def expand(self, count: int, seed: int) -> list[str]:
        """At most `count` distinct texts; a template without slots gives one."""
        names = _SLOT.findall(self.text)
        if not names:
            return [self.text]
        choice = random.Random(f"{seed} {self.text}")  # noqa: S311 - reproducible training texts, no secret
        made = (_SLOT.sub(lambda match: choice.choice(self.slots[match[1]]), self.text) for _ in range(3 * count))
        return list(dict.fromkeys(text[:1].upper() + text[1:] for text in made))[:count]


def templates(name: str) -> list[Template]:
    """The templates of `training/<name>.txt`."""
    return list(_parsed(_read(f"{name}.txt").splitlines()))


def trigger_words() -> list[str]:
    return [word for line in _read("words.txt").splitlines() if not line.startswith("#") for word in line.split()]


def strew(text: str, words: Sequence[str], count: int, seed: int) -> str:
    """`text` with `count` of the words put in at random places, half of the time instead of a word."""
    choice = random.Random(f"{seed} {text}")  # noqa: S311 - reproducible training texts, no secret
    parts = text.split()
    for _ in range(count):
        at = choice.randrange(len(parts) + 1)
        replaced = choice.random() < 0.5
        parts[at : at + replaced] = [choice.choice(words)]
    return " ".join(parts)


def _read(file: str) -> str:
    return resources.files("rules.injection").joinpath("training", file).read_text("utf-8")


def _parsed(lines: Sequence[str]) -> Iterator[Template]:
    language = ""
    slots: dict[str, tuple[str, ...]] = {}
    for line in map(str.strip, lines):
        if not line or line.startswith("# "):
            continue
        if match := _LANGUAGE.fullmatch(line):
            language = match[1]
        elif line.startswith("@"):
            slot, _, values = line[1:].partition("=")
            slots[slot.strip()] = tuple(value.strip() for value in values.split("|"))
        else:
            yield Template(line, language, slots)
