"""Names that the words around them give away, birth dates, ages, dates."""

import re
from typing import Final

from rules.pii.pattern import CAPITALS, LETTERS, Evidence, Pattern

_MONTH: Final = (
    r"(?:jan(?:uary)?|feb(?:ruary)?|mar(?:ch)?|apr(?:il)?|may|june?|july?|aug(?:ust)?|sept?(?:ember)?|oct(?:ober)?|"
    r"nov(?:ember)?|dec(?:ember)?|januar|februar|märz|mai|juni|juli|oktober|dezember|janvier|février|mars|avril|juin|"
    r"juillet|août|septembre|octobre|novembre|décembre|enero|febrero|marzo|abril|mayo|junio|julio|agosto|septiembre|"
    r"octubre|noviembre|diciembre)"
)
DATE: Final = (
    rf"(?:\d{{1,2}}[./\-]\d{{1,2}}[./\-](?:\d{{4}}|\d{{2}})|(?:19|20)\d{{2}}[./\-]\d{{1,2}}[./\-]\d{{1,2}}"
    rf"|\d{{1,2}}(?:st|nd|rd|th|\.)?\s(?:of\s|de\s)?{_MONTH}\.?,?(?:\s(?:de\s)?\d{{4}})?"
    rf"|{_MONTH}\.?\s\d{{1,2}}(?:st|nd|rd|th)?,?\s\d{{4}})"
)

_NAME_WORD: Final = rf"[{CAPITALS}](?:[{LETTERS}]|['\x{{2019}}\-][{LETTERS}])+"
_PARTICLE: Final = r"(?:van|von|de|der|den|del|della|di|da|dos|du|la|le|bin|ibn|al|el|ter|zu|af|av)"
_NAME: Final = rf"{_NAME_WORD}(?:[ \t](?:[{CAPITALS}]\.|(?:{_PARTICLE}[ \t]){{0,3}}{_NAME_WORD})){{0,3}}"
_NO_NAME: Final = (
    "on in at with under spelled spelt wrong misspelled listed missing from for to correct registered different "
    "not the a an is are was i we you he she it they this that there here what which who how why when where "
    "only just now account bank card customer client user patient claude gpt chatgpt assistant bot support "
    "sales team service agent monday tuesday wednesday thursday friday saturday sunday and or but "
)
_NOT_A_NAME: Final = frozenset(_NO_NAME.split())


def _name_parts(value: str) -> list[tuple[int, int]]:
    """The beginning of the match up to a word that is in no name."""
    end = 0
    for word in re.finditer(r"[^\s]+", value):
        if word.group().strip(".,'").lower() in _NOT_A_NAME:
            break
        end = word.end()
    return [(0, end)] if end > 1 else []


PERSON: Final = (
    Pattern(
        name="titled_name",
        kind="PERSON",
        regex=(
            rf"\b(?:Mr|Mrs|Ms|Miss|Mx|Dr|Prof|Sir|Madam|Herrn?|Frau|Mme|Mlle|Monsieur|Madame|Señora?|Signora?|Sra|"
            rf"Dra|Dott)"
            rf"\.?[ \t]({_NAME})"
        ),
        parts=_name_parts,
        evidence=Evidence.CONTEXT,
        score=0.9,
    ),
    Pattern(
        name="introduced_name",
        kind="PERSON",
        regex=(
            rf"(?:\b(?i:my (?:full )?name is|my name's|her name is|his name is|their name is|(?:first|last|maiden|"
            rf"sur|full) ?name"
            rf"(?: is)?:?|patient name:?|customer name:?|name:|ich heiße|mein name ist|je m'appelle|me llamo|"
            rf"mi chiamo|"
            rf"mijn naam is|signed,|regards,|sincerely,))\s{{1,4}}({_NAME})"
        ),
        parts=_name_parts,
        evidence=Evidence.CONTEXT,
        score=0.85,
    ),
    Pattern(
        name="introduced_name_lower",
        kind="PERSON",
        regex=(
            rf"(?i)\b(?:my (?:full )?name is|my name's|mein name ist|je m'appelle|me llamo|"
            rf"mi chiamo) ([{LETTERS}]+(?: [{LETTERS}]+)?)"
        ),
        parts=_name_parts,
        evidence=Evidence.CONTEXT,
        score=0.7,
    ),
    Pattern(
        name="date_of_birth",
        kind="DATE_OF_BIRTH",
        regex=(
            rf"(?i)\b(?:born|birth ?da(?:te|y)|date of birth|d\.?o\.?b\.?|geboren|geburtsdatum|geb\.|née?|naissance|"
            rf"nacimiento|nacid[oa]|nat[oa]|data di nascita)\b[^\d\n]{{0,32}}?\b({DATE})\b"
        ),
        evidence=Evidence.CONTEXT,
        score=0.9,
    ),
    Pattern(
        name="date",
        kind="DATE_TIME",
        regex=rf"(?i)\b{DATE}(?:[T ]\d{{1,2}}:\d{{2}}(?::\d{{2}})?)?\b",
        score=0.6,
    ),
    Pattern(
        name="age",
        kind="AGE",
        regex=(
            r"(?i)\b(\d{1,3})(?:[ -]years?[ -]old|[ -]?y/?o\b| jahre alt| ans\b)|\b(?:aged?|turned|"
            r"turning) (\d{1,3})\b"
        ),
        score=0.6,
    ),
)
