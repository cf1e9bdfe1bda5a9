"""What a question asks for, and which of that a text holds: an amount, a date, a telephone number, a name ...

Cues are a closed table per language. A text may hold several kinds; a question may accept several, or say nothing.
"""

import re
from enum import StrEnum
from typing import Final

from gateway.upstream.languages import Language
from gateway.upstream.terms import terms


class Kind(StrEnum):
    NUMBER = "number"
    MONEY = "money"
    PERCENT = "percent"
    DURATION = "duration"
    TIME = "time"
    DATE = "date"
    CONTACT = "contact"
    NAME = "name"


_Cues = tuple[tuple[re.Pattern[str], frozenset[Kind]], ...]


def _cues(*table: tuple[str, tuple[Kind, ...]]) -> _Cues:
    return tuple((re.compile(rf"\b(?:{pattern})\b", re.IGNORECASE), frozenset(kinds)) for pattern, kinds in table)


_PERIODS: Final = "minutes|hours|days|weeks|months|years"
_WHEN: Final = (Kind.DATE, Kind.TIME, Kind.DURATION, Kind.NUMBER)
_AMOUNT: Final = (Kind.MONEY, Kind.PERCENT)

# The first pattern that occurs decides.
_ASKED: Final[dict[Language, _Cues]] = {
    Language.ENGLISH: _cues(
        (r"(?:tele)?phone number|(?:which|what) number .{0,120}?(?:call|ring|phone|dial|text|reach)", (Kind.CONTACT,)),
        (r"e-?mail address|where (?:do|can|should|may) i (?:forward|send|write)", (Kind.CONTACT,)),
        (r"per ?cent(?:age)?|(?:interest|exchange|savings|mortgage|overdraft) rates?|APR|AER|EAR|APY", (Kind.PERCENT,)),
        (r"(?:what|which) time|until when|by when", (Kind.TIME, Kind.DATE)),
        (rf"how (?:long|often|soon|quickly)|how many (?:\w+ )?(?:{_PERIODS})", (Kind.DURATION,)),
        (r"when|(?:what|which) (?:year|date|day|month|century|decade)", _WHEN),
        (r"how (?:many|old|far|high|large|big|fast|late|early|tall|deep|wide)|what number", (Kind.NUMBER,)),
        (r"costs?|price[ds]?|fees?|charge[ds]?|how much .{0,120}?(?:pay|send|withdraw|spend|earn|borrow)", _AMOUNT),
        (r"(?:up to|from|to) (?:what|which) value|(?:what|which) (?:amount|sum)|for which prices", _AMOUNT),
        (r"how much|limit|rate|minimum|maximum|deadline", (Kind.NUMBER,)),
        (r"who|whose|whom|where|(?:what|which) (?:person|city|country|place|company|team|state)", (Kind.NAME,)),
    ),
    Language.GERMAN: _cues(
        (r"(?:telefon|ruf)nummer|(?:welche|unter welcher|welcher) nummer", (Kind.CONTACT,)),
        (r"e-?mail-?adresse", (Kind.CONTACT,)),
        (r"prozent(?:satz)?|\w*zins(?:en|es|satz)?|zinssätze", (Kind.PERCENT,)),
        (r"bis wann|um wie viel uhr|wie spät", (Kind.TIME, Kind.DATE)),
        (r"wie (?:lange|oft|schnell)|wie viele (?:minuten|stunden|tage|wochen|monate|jahre)", (Kind.DURATION,)),
        (r"wann|welche[msn]? (?:jahr|datum|tag|monat|jahrhundert|jahrzehnt)", _WHEN),
        (r"kostet|kosten|preis|\w*gebühr(?:en)?|\w*entgelt", _AMOUNT),
        (r"wie ?viele?|wie (?:alt|weit|hoch|groß|breit|tief|lang)|welche (?:anzahl|zahl|menge)", (Kind.NUMBER,)),
        (r"wer|wem|wen|wessen|wo|woher|wohin|welche[rns]? (?:person|stadt|land|ort|firma|mannschaft)", (Kind.NAME,)),
    ),
    Language.SPANISH: _cues(
        (r"número de teléfono|qué (?:número|teléfono) .{0,120}?(?:llamar|llamo|marcar)|qué teléfono", (Kind.CONTACT,)),
        (r"correo electrónico", (Kind.CONTACT,)),
        (r"por ?ciento|porcentaje|tipo de interés|tasa", (Kind.PERCENT,)),
        (r"qué hora|hasta cuándo", (Kind.TIME, Kind.DATE)),
        (r"cuánto (?:tiempo|dura|tarda)|cuánt[oa]s (?:minutos|horas|días|semanas|meses|años)", (Kind.DURATION,)),
        (r"cuándo|qué (?:año|fecha|día|mes|siglo|década)", _WHEN),
        (r"cuesta|cuestan|precio|coste|comisión|tarifa", _AMOUNT),
        (r"cuánt[oa]s?|qué (?:número|cantidad)", (Kind.NUMBER,)),
        (r"quién(?:es)?|dónde|qué (?:persona|ciudad|país|lugar|empresa|equipo|estado)", (Kind.NAME,)),
    ),
}  # fmt: skip

IMPLIED: Final = {
    Language.ENGLISH: frozenset(terms("rate percentage interest cost amount value number address", Language.ENGLISH)),
    Language.GERMAN: frozenset(terms("Zins Prozentsatz Kosten Betrag Wert Nummer Adresse", Language.GERMAN)),
    Language.SPANISH: frozenset(
        terms("tipo interés porcentaje coste importe valor número dirección", Language.SPANISH)
    ),
}
"""Terms that name what is asked for: a text that holds it need not say them."""

_NUMBER: Final = re.compile(
    r"\d|%|\b(?:one|two|three|four|five|six|seven|eight|nine|ten|eleven|twelve|dozen|half|twice|once|hundreds?"
    r"|thousands?|millions?|billions?|daily|weekly|monthly|quarterly|yearly|annual(?:ly)?|free|no|none|unlimited"
    r"|zwei|drei|vier|fünf|sechs|sieben|acht|neun|zehn|elf|zwölf|dutzend|hälfte|hundert|tausend|millionen"
    r"|milliarden|täglich|monatlich|jährlich|kostenlos|kostenfrei|keine?|dos|tres|cuatro|cinco|seis|siete|ocho|nueve"
    r"|diez|once|doce|docena|mitad|cien(?:tos)?|mil(?:es)?|millones|diari[oa]|mensual|anual|gratis|gratuit[oa])\b",
    re.IGNORECASE,
)
_AMOUNT_WORDS: Final = (
    r"pounds?|euros?|dollars?|pence|cents?|free|none|pfund|dollar|kostenlos|kostenfrei|libras?|dólares|gratis"
)
_DURATION_WORDS: Final = (
    r"minutes?|hours?|days?|weeks?|months?|quarters?|years?|daily|weekly|monthly|quarterly|yearly|annually|once|twice"
    r"|minuten?|stunden?|tage?n?|\w*tage|wochen?|monate?n?|jahre?n?|täglich|monatlich|jährlich"
    r"|minutos?|horas?|días?|semanas?|mes(?:es)?|años?|diario|mensual|anual"
)
_HELD: Final = (
    (Kind.MONEY, re.compile(rf"[£$€¥]\s?\d|\d\s?[£€$]|\b(?:GBP|EUR|USD)\b|\b(?:{_AMOUNT_WORDS})\b", re.IGNORECASE)),
    (Kind.PERCENT, re.compile(r"\d\s?%|\b(?:per ?cent|prozent|por ciento)\b", re.IGNORECASE)),
    (Kind.DURATION, re.compile(rf"\b(?:{_DURATION_WORDS})\b", re.IGNORECASE)),
    (
        Kind.TIME,
        re.compile(r"\b\d{1,2}:\d\d\b|\b\d{1,2}(?:\.\d\d)? ?(?:am|pm|uhr)\b|\b(?:noon|midnight)\b", re.IGNORECASE),
    ),
    (
        Kind.DATE,
        re.compile(
            r"\b(?:1[0-9]|20)\d\d\b|\b(?:jan|febr)uary\b|\b(?:march|april|june|july|august)\b"
            r"|\b(?:septem|octo|novem|decem)ber\b|\b(?:mon|tues|wednes|thurs|fri|satur|sun)day\b|\bcentur(?:y|ies)\b"
            r"|\b(?:januar|februar|märz|mai|juni|juli|oktober|dezember|\w+tags?|mittwochs?|jahrhunderts?)\b"
            r"|\b(?:enero|febrero|marzo|abril|mayo|junio|julio|agosto|septiembre|octubre|noviembre|diciembre|lunes"
            r"|martes|miércoles|jueves|viernes|sábado|domingo|siglos?)\b",
            re.IGNORECASE,
        ),
    ),
    (Kind.CONTACT, re.compile(r"\+?\d[\d ()/-]{6,}\d|[\w.+-]+@[\w-]+\.[\w.-]*\w")),
    (Kind.NAME, re.compile(r"[\w,;:)\"”’]\s[(\"“‘]?[A-ZÄÖÜÁÉÍÓÚÑ]")),  # a capital that does not begin the text
)


def asked_kinds(question: str, language: Language) -> frozenset[Kind]:
    """The kinds of which an answer should hold one; empty if the question does not say."""
    for pattern, kinds in _ASKED[language]:
        if pattern.search(question):
            return kinds
    return frozenset()


def held_kinds(text: str) -> frozenset[Kind]:
    """All kinds that `text` holds."""
    held = {kind for kind, pattern in _HELD if pattern.search(text)}
    if _NUMBER.search(text):
        held.add(Kind.NUMBER)
    return frozenset(held)
