"""A Dockerfile, read as far as the tests ask: instructions of each stage, with variables as they are written."""

import json
import re
import shlex
from pathlib import Path

from msgspec import Struct


class Instruction(Struct, frozen=True):
    """`keyword` in capitals, and the rest of its line, continued lines joined."""

    keyword: str
    rest: str

    @property
    def words(self) -> list[str]:
        """The arguments: a JSON list, or words as a shell reads them."""
        return json.loads(self.rest) if self.rest.startswith("[") else shlex.split(self.rest)


def stages(file: Path) -> list[list[Instruction]]:
    """The instructions of each stage, `FROM` first; those before the first `FROM` are the first entry."""
    lines = [line for line in file.read_text("utf-8").splitlines() if not line.lstrip().startswith("#")]
    text = re.sub(r"\\\n\s*", " ", "\n".join(lines))
    found: list[list[Instruction]] = [[]]
    for line in filter(str.strip, text.splitlines()):
        keyword, _, rest = line.partition(" ")
        if keyword == "FROM":
            found.append([])
        found[-1].append(Instruction(keyword.upper(), rest.strip()))
    return found
