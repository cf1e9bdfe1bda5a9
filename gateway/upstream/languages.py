"""The languages that the built-in model reads: how they are told apart, and what says nothing in them.

Three closed tables of our own. A text in another language is read with the rules of the nearest one; names and
numbers still match.
"""

import re
import unicodedata
from enum import StrEnum
from functools import lru_cache
from typing import Final

_WORD: Final = re.compile(r"[^\W\d_]+")
_DETECTION_CHARS: Final = 1_500  # enough words to tell; the rest costs time


class Language(StrEnum):
    ENGLISH = "en"
    GERMAN = "de"
    SPANISH = "es"


_ENGLISH: Final = """
a about after all also am an and any are as at be because been before being between both but by can could d did
do does doing done during each either for from get gets give given go got had has have having he her here hers him
his how i if in into is it its itself just ll let many may me might mine more most much must my need needs neither
no nor not of off on once one only onto or other our out over own per please re s same shall she should so some
such t tell than that the their them then there these they this those through to too under until up upon us ve very
want was way we were what when where whether which while who whom whose why will with within without would yes you
your know explain describe say says mean means kind type sort name named call called
"""
_GERMAN: Final = """
ab aber alle allem allen aller alles als also am an auch auf aus bei beim bin bis bitte da dabei dafür damit dann darf
das dass dein deine dem den denn der des deren dessen die dies diese diesem diesen dieser dieses doch dort du durch ein
eine einem einen einer eines er es etwa etwas euch euer für gab gegen geben gibt haben habe hat hatte hatten hier ich
ihm ihn ihnen ihr ihre ihrem ihren ihrer im in ins ist ja jede jedem jeden jeder jedes kann kannst können könnte lang
lasse lassen man mehr mein meine meinem meinen meiner mich mir mit muss müssen nach nicht noch nur ob oder ohne sehr
sein seine seinem seinen seiner seit sich sie sind so soll sollte sowie über um und uns unser unsere unter viel viele
vom von vor wann war waren warum was wegen weil welche welchem welchen welcher welches wem wen wenn wer werde werden
wessen wie wieso will wir wird wo wobei wodurch wofür wollen womit worden wurde wurden während zu zum zur zwischen
nennt nenne heißt heißen art
"""
_SPANISH: Final = """
a al algo algún alguna algunas algunos ante antes aquel aquella así aun aunque bajo bien cada como cómo con cual cuál
cuales cuáles cuando cuándo cuanta cuánta cuantas cuántas cuanto cuánto cuantos cuántos de del desde donde dónde durante
e el él ella ellas ellos en entre era eran es esa esas ese eso esos esta está están estas este esto estos fue fueron
ha había han hasta hay he hubo la las le les lo los más me mi mis mucho muy nada ni no nos nosotros o otra otras otro
otros para pero por porque pueda puede pueden puedo qué que quien quién quienes quiénes se sea según ser si sí sido sin
sobre son su sus también tan tanto te tener tengo tiene tienen toda todas todo todos tu tus u un una unas uno unos usted
y ya yo llama llamaba llamado llamada tipo dice dijo nombre
"""
STOP_WORDS: Final = {
    Language.ENGLISH: frozenset(_ENGLISH.split()),
    Language.GERMAN: frozenset(_GERMAN.split()),
    Language.SPANISH: frozenset(_SPANISH.split()),
}
_LETTERS: Final = {Language.GERMAN: frozenset("äöüß"), Language.SPANISH: frozenset("ñ¿¡áíóú")}
_LETTER_WEIGHT: Final = 0.5


def _same(*groups: tuple[str, ...]) -> dict[str, str]:
    return {other: first for first, *others in groups for other in others}


# Stems of words that askers and documents use for one another, each with the one that stands for all.
_SAME: Final = {
    Language.ENGLISH: _same(
        ("cost", "fee", "pric", "charg", "tariff"),
        ("phone", "telephon", "ring", "call"),
        ("maximum", "largest", "highest", "cap"),
        ("minimum", "smallest", "lowest", "least"),
    ),
    Language.GERMAN: _same(("kost", "prei", "gebuhr", "entgel"), ("telefon", "rufnumm", "telefonnumm")),
    Language.SPANISH: _same(("cost", "cuest", "preci", "comision", "tarif")),
}


def language_of(text: str) -> Language:
    """The language whose function words are the most frequent in the beginning of `text`; English if none is."""
    beginning = text[:_DETECTION_CHARS].lower()
    words = _WORD.findall(beginning)
    best, most = Language.ENGLISH, -1.0
    for language, stop_words in STOP_WORDS.items():
        letters = _LETTERS.get(language, frozenset())
        count = sum(word in stop_words for word in words)
        score = count + _LETTER_WEIGHT * sum(letter in letters for letter in beginning)
        if score > most:
            best, most = language, score
    return best


@lru_cache(maxsize=50_000)
def stem(word: str, language: Language) -> str:
    """A lower-case word without its inflection: enough to join the forms of a word, too little to join words."""
    word = word.replace("’", "'").removesuffix("'s")
    found = word if len(word) <= 3 or not word.isalpha() else _without_inflection(word, language)
    return _SAME[language].get(found, found)


def _without_inflection(word: str, language: Language) -> str:
    match language:
        case Language.ENGLISH:
            return _english(word)
        case Language.GERMAN:
            return _german(_without_accents(word.replace("ß", "ss")))
        case Language.SPANISH:
            return _spanish(_without_accents(word))


def _english(word: str) -> str:
    """The first step of M. F. Porter, "An algorithm for suffix stripping" (1980), with a final `e` dropped: brings
    `fees` to `fee` and `charged`, `charges`, `charging` to one form."""
    if word.endswith("ies"):
        word = word[:-3] + "y"
    elif word.endswith("sses"):
        word = word[:-2]
    elif word.endswith("s") and not word.endswith(("ss", "us", "is")):
        word = word[:-1]
    elif word.endswith(("thly", "kly", "rly", "tly", "lly", "ely", "dly")) and len(word) > 5:
        word = word[:-2]
    for suffix in ("ing", "ed"):
        if word.endswith(suffix) and len(word) - len(suffix) >= 3 and re.search("[aeiouy]", word[: -len(suffix)]):
            word = word.removesuffix(suffix)
            if word[-1] == word[-2] and word[-1] not in "aeiouylsz":
                word = word[:-1]
            break
    return word[:-1] if word.endswith("e") and len(word) > 3 else word


def _german(word: str) -> str:
    """Endings of nouns, adjectives and present tense, after J. Savoy, "Light stemming approaches for the French,
    Portuguese, German and Hungarian languages" (2006)."""
    for suffix in ("ern", "em", "en", "er", "es", "et", "os", "e", "n", "s", "o"):
        if word.endswith(suffix) and len(word) - len(suffix) >= 4:
            word = word.removesuffix(suffix)
            break
    return word[:-1] if word.endswith("t") and len(word) > 5 else word


def _spanish(word: str) -> str:
    """Plurals, gender, infinitives and nouns of action, in the manner of the light stemmers above."""
    if word.endswith("es") and len(word) > 5 and word[-3] not in "aeiou":
        word = word[:-2]
    elif word.endswith("s") and len(word) > 4:
        word = word[:-1]
    for suffix in ("aciones", "amiento", "imiento", "acion", "icion", "ando", "iendo", "ado", "ido", "ada", "ida"):
        if word.endswith(suffix) and len(word) - len(suffix) >= 4:
            return word.removesuffix(suffix)
    for suffix in ("ar", "er", "ir"):
        if word.endswith(suffix) and len(word) - len(suffix) >= 4:
            return word.removesuffix(suffix)
    return word[:-1] if word[-1] in "aeo" and len(word) > 4 else word


def _without_accents(word: str) -> str:
    return "".join(char for char in unicodedata.normalize("NFKD", word) if not unicodedata.combining(char))
