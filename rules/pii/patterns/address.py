"""Postal addresses as they are written in a dozen countries."""

import re
from typing import Final

from rules.pii.pattern import CAPITALS, LETTERS, Evidence, Pattern

_WORD: Final = rf"[{CAPITALS}][{LETTERS}'\x{{2019}}.\-]*"
_SUFFIX: Final = (
    r"(?:Street|St|Avenue|Ave|Road|Rd|Boulevard|Blvd|Lane|Ln|Drive|Dr|Court|Ct|Square|Sq|Place|Pl|Terrace|Ter|Way|"
    r"Crescent|Close|Highway|Hwy|Parkway|Pkwy|Circle|Cir|Trail|Alley|Mews|Row|Walk|Gardens|Grove|Quay)"
)
_UNIT: Final = r"(?:Apt|Apartment|Suite|Ste|Unit|Floor|Fl|Room|Flat|Bldg)\.?\s?#?\s?[A-Z]?\d{1,5}[A-Z]?"
_GAP: Final = r"(?:\s{0,2},\s{0,2}|[ \t]?\r?\n[ \t]{0,4},?[ \t]?|[ \t])"
_REGION: Final = r"[A-Z]{2}"
_CODE: Final = r"(?:\d{5}(?:-\d{4})?|\d{4}[ ]?[A-Z]{2}|[A-Z]{1,2}\d[A-Z\d]? \d[A-Z]{2}|[A-Z]\d[A-Z] ?\d[A-Z]\d)"
_CITY: Final = rf"{_WORD}(?:[ \-](?:{_WORD}|de|di|am|an|der|sur|upon|la|le|of|and)){{0,4}}"
_TAIL: Final = rf"(?:{_GAP}{_UNIT})?(?:{_GAP}{_CITY})?(?:{_GAP}{_REGION})?(?:{_GAP}{_CITY})?(?:{_GAP}{_CODE}\b)?"
_SHORT_TAIL: Final = rf"(?:{_GAP}{_UNIT})?(?:(?:\s?,\s?|[ \t]?\r?\n[ \t]?){_CODE}[ \t]{_CITY})?"

_AREAS: Final = (
    "AB AL B BA BB BD BH BL BN BR BS BT CA CB CF CH CM CO CR CT CV CW DA DD DE DG DH DL DN DT DY E EC EH EN EX "
    "FK FY G GL GU GY HA HD HG HP HR HS HU HX IG IM IP IV JE KA KT KW KY L LA LD LE LL LN LS LU M ME MK ML N "
    "NE NG NN NP NR NW OL OX PA PE PH PL PO PR RG RH RM S SA SE SG SK SL SM SN SO SP SR SS ST SW SY TA TD TF "
    "TN TQ TR TS TW UB W WA WC WD WF WN WR WS WV YO ZE "
)
_POSTCODE_AREAS: Final = frozenset(_AREAS.split())  # Royal Mail


def uk_postcode(value: str) -> bool:
    """A postcode of an area that exists, and no amount of memory (`B2 4GB`)."""
    area = re.match(r"[A-Z]{1,2}", value)
    return area is not None and area.group() in _POSTCODE_AREAS and value[-2:] not in {"GB", "TB"}


def _ends_well(value: str) -> list[tuple[int, int]]:
    """The match without white space and punctuation at its end."""
    return [(0, len(value.rstrip(" \t\r\n,")))]


_PROSE: Final = re.compile(
    r"(?i)[ ,.]*[ ](?:for|and|with|on|but|is|was|please|so|because|since|thanks|my|his|her|i|the|instead)\b"
)


def _stated_parts(value: str) -> list[tuple[int, int]]:
    """What follows the announcement, up to the sentence's end or to words that are in no address."""
    stop = _PROSE.search(value)
    end = len(value if stop is None else value[: stop.start()])
    sentence = re.search(r"[.?!] ", value[:end])
    if sentence is not None and not re.search(r"(?i)\b(?:apt|st|ste|no|nr|str)$", value[: sentence.start()]):
        end = sentence.start()
    return [(0, len(value[:end].rstrip(" .,")))] if end > 6 else []


ADDRESS: Final = (
    Pattern(
        name="street_english",
        kind="ADDRESS",
        regex=(
            rf"\b\d{{1,6}}[A-Za-z]?(?:[ ]\d{{1,5}})?[ ](?:[NSEW]{{1,2}}\.?[ ])?(?:\d{{1,3}}(?:st|nd|rd|th)[ ]|"
            rf"{_WORD}[ ]){{1,4}}"
            rf"{_SUFFIX}\b\.?{_TAIL}"
        ),
        parts=_ends_well,
        score=0.8,
    ),
    Pattern(
        name="street_germanic",  # German, Dutch and Nordic compounds: the number follows
        kind="ADDRESS",
        regex=(
            rf"(?:\b\d{{1,3}}[ ])?\b[{CAPITALS}][{LETTERS}.\-]*(?:straße|strasse|str\.|weg|gasse|allee|platz|damm|"
            rf"ufer|straat|laan|plein|gracht|kade|"
            r"dreef|steeg|gatan|vägen|gata|vegen|veien|gade|vej|katu|tie|kuja|plass)[ ]\d{1,4}[ ]?[a-zA-Z]?\b"
            rf"{_SHORT_TAIL}"
        ),
        parts=_ends_well,
        score=0.8,
    ),
    Pattern(
        name="street_germanic_spaced",  # Am Alten Markt 5, Karl-Marx-Straße 12
        kind="ADDRESS",
        regex=(
            rf"\b(?:[{CAPITALS}][{LETTERS}]+[ \-]){{1,3}}(?:Straße|Strasse|Str\.|Weg|Gasse|Allee|Platz|Damm|Ufer|"
            rf"Ring|Markt)[ ]"
            rf"\d{{1,4}}[ ]?[a-zA-Z]?\b{_SHORT_TAIL}"
        ),
        parts=_ends_well,
        score=0.8,
    ),
    Pattern(
        name="street_romance_number_first",
        kind="ADDRESS",
        regex=(
            rf"(?i:\b\d{{1,5}}(?:[ ]?(?:bis|ter|quater))?,?[ ](?:rue|avenue|boulevard|place|chemin|impasse|allée|"
            rf"quai|cours|"
            rf"route|via|viale|piazza|corso|calle|avenida|plaza|rua|estrada|praça)[ ])(?:(?i:de|du|des|la|le|los|"
            rf"las|da|do)[ ]){{0,2}}"
            rf"[{LETTERS}'\x{{2019}}\-]+(?:[ ][{LETTERS}'\x{{2019}}\-]+){{0,4}}?(?:[ ]\d{{1,5}})?{_SHORT_TAIL}"
        ),
        parts=_ends_well,
        score=0.75,
    ),
    Pattern(
        name="street_romance_number_last",
        kind="ADDRESS",
        regex=(
            rf"\b(?:Via|Viale|Piazza|Corso|Vicolo|Calle|C/|Avenida|Avda\.?|Plaza|Paseo|Camino|Rua|Avenida|Praça|"
            rf"Travessa|Estrada|"
            rf"Rue|Largo)[ ](?:(?i:de|di|del|della|dei|da|do|dos|la|las|los|el|i|degli)[ ]){{0,2}}{_WORD}"
            rf"(?:[ ](?:{_WORD}|de|di|da|do|del|la|y|e)){{0,5}},?[ ](?:n\.?º?[ ]?)?\d{{1,5}}\b{_SHORT_TAIL}"
        ),
        parts=_ends_well,
        score=0.75,
    ),
    Pattern(
        name="unit",
        kind="ADDRESS",
        regex=rf"(?i)\b{_UNIT}\b",
        check=lambda value: (
            any(char.isdigit() for char in value) and value.lower()[:2] in ("ap", "su", "st", "fl", "un")
        ),
        context=(
            r"address|street|road|avenue|live|lives|ship|sent|deliver|mail|apt|suite|floor|lane|drive|adresse|"
            r"\d{1,5}"
        ),
        context_score=0.6,
        before=40,
    ),
    Pattern(
        name="po_box",
        kind="ADDRESS",
        regex=(
            rf"(?i)\b(?:p\.?[ ]?o\.?[ ]?box|postfach|post office box|apartado|casella postale)"
            rf"[ ]?#?\d{{1,6}}(?-i:{_TAIL})"
        ),
        parts=_ends_well,
        score=0.8,
    ),
    Pattern(
        name="military",
        kind="ADDRESS",
        regex=(
            rf"\b(?:(?:PSC|Unit|CMR)[ ]\d{{1,5}},?[ ]Box[ ]\d{{1,5}}|US(?:NS|S|NV|CGC)"
            rf"[ ][{CAPITALS}][{LETTERS}]+)\s{{1,2}}(?:APO|FPO|DPO)[ ]A[AEP][ ]\d{{5}}\b"
        ),
        score=0.9,
    ),
    Pattern(
        name="us_state_zip",
        kind="ADDRESS",
        regex=(
            r"\b(?:A[KLRZ]|C[AOT]|D[CE]|FL|GA|HI|I[ADLN]|K[SY]|LA|M[ADEINOST]|N[CDEHJMVY]|O[HKR]|PA|RI|S[CD]|"
            r"T[NX]|UT|V[AT]|"
            r"W[AIVY])[ ]\d{5}(?:-\d{4})?\b"
        ),
        score=0.6,
    ),
    Pattern(
        name="zip",
        kind="ADDRESS",
        regex=(
            r"(?i)\b(?:zip(?: ?code)?|postal code|post ?code|postleitzahl|plz|code postal|código postal|"
            r"cap)\b[^\w\n]{0,3}(?:is[ ])?(\d{4,6}(?:-\d{4})?)\b"
        ),
        evidence=Evidence.CONTEXT,
        score=0.8,
    ),
    Pattern(
        name="uk_postcode",
        kind="UK_POSTCODE",
        regex=r"\b[A-Z]{1,2}\d[A-Z\d]? \d[ABD-HJLNP-UW-Z]{2}\b",
        check=uk_postcode,
        score=0.6,
        context=r"postcode|post code|address|live|lives|street|road|lane|london",
        context_score=0.8,
    ),
    Pattern(
        name="stated_address",
        kind="ADDRESS",
        regex=(
            r"(?i)\b(?:address(?: is| to|:)|live[sd]? (?:at|in)|lives at|delivered to|be sent to|ship(?:ped)? to|"
            r"wohnhaft in|adresse:?)"
            rf"[ \t]{{1,6}}(\d{{1,5}}[ ][{LETTERS}0-9 .'\x{{2019}}\-]+(?:,[ ][{LETTERS}0-9 .'\x{{2019}}\-]+){{0,4}})"
        ),
        parts=_stated_parts,
        evidence=Evidence.CONTEXT,
        score=0.7,
    ),
)
