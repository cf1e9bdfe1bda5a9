"""How to reach somebody: e-mail, phone, network addresses, web addresses."""

import re
from functools import lru_cache
from typing import Any, Final

from rules.pii.checksums import digits_of, ip_address
from rules.pii.pattern import LETTERS, Evidence, Pattern

_PHONE_WORDS: Final = (
    r"phone|telephone|tel|mobile|mob|cell|cellphone|call|called|calling|ring|dial|fax|sms|text|texted|whatsapp|signal|"
    r"contact|reach|reached|answering|voicemail|landline|hotline|office|msisdn|telefon|telefonnummer|handy|rufnummer|"
    r"mobil|téléphone|portable|teléfono|móvil|llámame|telefono|cellulare|telefone|celular|telefoon"
)
_NOT_PHONE: Final = (
    r"invoice|order|ticket|policy|reference|ref|case|claim|iban|swift|isbn|issn|version|article|order|item|sku|serial|"
    r"account|acct|passport|licen[cs]e|ssn|social security|vat|tax|zip|postcode|card|imei|iccid|medicare|nhs"
)


@lru_cache(maxsize=1)
def _phonenumbers() -> Any:
    import phonenumbers  # loads its metadata on import

    return phonenumbers


def international(value: str) -> bool:
    """A number with country code that its numbering plan allows (libphonenumber)."""
    library = _phonenumbers()
    digits = re.split(r"(?i)\s*(?:x|ext)", value, maxsplit=1)[0]
    if digits.startswith("00"):
        digits = "+" + digits[2:]
    try:
        number = library.parse(digits, None)
    except library.NumberParseException:
        return False
    return bool(library.is_possible_number(number))


_LONGEST_EMAIL: Final = 320  # RFC 3696 errata 1690, local part and domain
_PROSE: Final = re.compile(r"(?i)\b(?:at|@)\W{1,3}(?:the|a|an|this|that|my|our|your|their|it)\b")
_DATE_LIKE: Final = re.compile(
    r"(?:19|20)\d\d[-./ ](?:0?[1-9]|1[0-2])[-./ ](?:0?[1-9]|[12]\d|3[01])(?:\D.*)?"
    r"|(?:0?[1-9]|[12]\d|3[01])[-./ ](?:0?[1-9]|1[0-2])[-./ ](?:19|20)\d\d(?:\D.*)?"
    r"|(?:19|20)\d\d ?[-/] ?(?:19|20)\d\d"
)
_IP_LIKE: Final = re.compile(r"\d{1,3}(?:\.\d{1,3}){3}")


def national(value: str) -> bool:
    """A run of 7 to 15 digits that is no date, range of years or network address."""
    count = len(digits_of(re.split(r"(?i)\s*(?:x|ext)", value, maxsplit=1)[0]))
    return 6 <= count <= 15 and not _DATE_LIKE.fullmatch(value) and not _IP_LIKE.fullmatch(value)


_EXTENSION: Final = r"(?:\s?(?:x|ext\.?|extension)\s?\d{1,6})?"

CONTACT: Final = (
    Pattern(
        name="email",
        kind="EMAIL_ADDRESS",
        regex=rf"[{LETTERS}0-9][{LETTERS}0-9._%+'\-]*@(?:[{LETTERS}0-9\-]+\.)+[{LETTERS}]{{2,}}",
        check=lambda value: len(value) <= _LONGEST_EMAIL,
        score=1.0,
    ),
    Pattern(
        name="email_spelled",
        kind="EMAIL_ADDRESS",
        regex=(
            r"(?i)\b[a-z0-9][a-z0-9._+\-]*\s?(?:\(at\)|\[at\]|\{at\}|\s(?:at|@)\s|@)\s?[a-z0-9\-]+"
            r"\s?(?:\(dot\)|\[dot\]|\{dot\}|\sdot\s|\s\.\s)\s?(?:com|org|net|edu|gov|info|io|co|de|uk|fr|es|it|nl|eu|ch|at)\b"
        ),
        check=lambda value: not _PROSE.search(value),
        score=0.9,
    ),
    Pattern(
        name="phone_international",
        kind="PHONE_NUMBER",
        regex=rf"(?:\+|\b00)\s?\(?[1-9](?:[ .\-/()\x{{2010}}-\x{{2015}}]{{0,3}}\d){{6,14}}{_EXTENSION}",
        check=international,
        score=0.9,
        unless=r"iban|isbn|version",
    ),
    Pattern(
        name="phone_north_american",
        kind="PHONE_NUMBER",
        regex=(
            rf"(?:\b1[ .\-])?(?:\([2-9]\d\d\)\s?|\b[2-9]\d\d[ .\-\x{{2010}}-\x{{2015}}])\d{{3}}"
            rf"[ .\-\x{{2010}}-\x{{2015}}]\d{{4}}{_EXTENSION}\b"
        ),
        score=0.75,
        context=_PHONE_WORDS,
        context_score=0.9,
        unless=_NOT_PHONE,
        before=30,
    ),
    Pattern(
        name="phone_national",
        kind="PHONE_NUMBER",
        regex=rf"[(+]{{0,2}}\b\d{{1,5}}\)?(?:[ .\-/()\x{{2010}}-\x{{2015}}]{{0,2}}\d){{4,13}}{_EXTENSION}\b",
        check=national,
        context=_PHONE_WORDS,
        context_score=0.8,
        unless=_NOT_PHONE,
        before=32,
        after=14,
    ),
    Pattern(
        name="phone_trunk",  # a trunk zero and groups, as written across Europe
        kind="PHONE_NUMBER",
        regex=r"\(?\b0[1-9]\d{1,4}\)?[ /\-]\d{2,4}(?:[ \-]?\d{2,4}){1,3}\b",
        check=lambda value: 9 <= len(digits_of(value)) <= 12,
        score=0.6,
        context=_PHONE_WORDS,
        context_score=0.9,
        unless=_NOT_PHONE,
        before=30,
    ),
    Pattern(
        name="ipv4",
        kind="IP_ADDRESS",
        regex=r"\b(?:\d{1,3}\.){3}\d{1,3}\b",
        check=ip_address,
        score=0.8,
        unless=r"version|release|build|firmware|v",
        before=12,
        after=0,
    ),
    Pattern(
        name="ipv6",
        kind="IP_ADDRESS",
        regex=r"\b[0-9A-Fa-f]{1,4}:[0-9A-Fa-f:]*[0-9A-Fa-f]\b",
        check=lambda value: value.count(":") >= 2 and ip_address(value),
        score=0.8,
    ),
    Pattern(
        name="mac",
        kind="MAC_ADDRESS",
        regex=r"\b[0-9A-Fa-f]{2}(?:(?:[:\-][0-9A-Fa-f]{2}){5})\b",
        check=lambda value: len({*value} - {":", "-"}) > 1,
        score=0.8,
    ),
    Pattern(
        name="url",
        kind="URL",
        regex=r"(?i)\b(?:https?://|www\.)[^\s<>\"'`]+[^\s<>\"'`.,;:!?)\]}]",
        score=0.6,
        evidence=Evidence.FORMAT,
    ),
)
