"""Starter sets: a template with the names of its new owner put in. Each lints, tests and formats clean as it is."""

import datetime as dt
import re
from collections.abc import Iterable
from importlib import resources
from typing import Final

from gateway.policy.schema import SET_ID

TEMPLATES: Final = {
    "blank": "a word list that is flagged",
    "pii": "personal data that is replaced or masked",
    "topic": "a topic by examples that is refused",
    "tool-calls": "tools that a model may not call, or not for everybody",
    "escalation": "answers that two people look at first",
    "retrieval": "passages that are left out",
}
"""Every template with what it shows."""

_REVIEW_AFTER: Final = dt.timedelta(days=182)  # twice a year
_LONGEST_PREFIX: Final = 12


def is_set_id(name: str) -> bool:
    """Whether a text can be the name of a set: `retail/credit`."""
    return re.fullmatch(SET_ID, name) is not None


def starter(template: str, name: str, *, owner: str, today: dt.date, taken: Iterable[str] = ()) -> str:
    """The text of a new set named `name` from one of `TEMPLATES`. `taken` are rule ids that exist already. Blocking:
    reads the template from the installation."""
    text = (resources.files("gateway.policy") / "templates" / f"{template}.yaml").read_text("utf-8")
    word = re.sub("[^a-z0-9]+", "_", name.rpartition("/")[2])
    for mark, value in (
        ("__ID__", name),
        ("__OWNER__", f'"{owner}"'),
        ("__PREFIX__", _prefix(name, taken)),
        ("__REVIEW__", (today + _REVIEW_AFTER).isoformat()),
        ("__WORD__", word),
    ):
        text = text.replace(mark, value)
    return text


def _prefix(name: str, taken: Iterable[str]) -> str:
    """The shortest beginning of the name, in capitals and from three letters, that no rule id has."""
    letters = re.sub("[^A-Z0-9]", "", name.rpartition("/")[2].upper()) or "SET"
    used = {one.rpartition("-")[0] for one in taken}
    lengths = range(min(3, len(letters)), min(len(letters), _LONGEST_PREFIX) + 1)
    candidates = [letters[:length] for length in lengths]
    candidates += [f"{letters[:_LONGEST_PREFIX]}{number}" for number in range(2, len(used) + 3)]
    return next(one for one in candidates if one not in used)
