"""Words that mean something to the reading of claims: what to skip, what is a number, what turns a statement around."""

from collections.abc import Mapping
from typing import Final


def _words(text: str) -> frozenset[str]:
    return frozenset(text.split())


STOP_WORDS: Final = _words(
    """
    a about above across after again against all along also although am among an and any are around as at away be became
    because become been before being below between both but by came can could d did do does doing done down during each
    either else even ever every few for from further get gets given go goes going got had has have having he hence her
    here hers him his how however i if in indeed instead into is it its itself just kind let like likely ll m made make
    makes many may me might more most much must my need needs neither no none nor not now of off often on once one only
    onto or other others our out over own per perhaps quite rather re really s said same say says see seem seems several
    shall she should since so some such t take tell than that the their them then there therefore these they thing
    things this those though through thus to together too toward towards under until up upon us use used uses using
    usually various ve very via was way ways we well were what when where whether which while who whom whose why will
    with within without would yes yet you your yours
    """
)
FRAME: Final = _words(
    """
    according answer answers article based context describe described describes document documents following follows
    information mention mentioned mentions note passage passages provide provided provides question respectively source
    sources state stated states summary text
    """
)
"""Words by which an answer speaks of its sources: they claim nothing about the world."""

ENGLISH_FRAME: Final = _words(
    "the of and to is are that this it for with be were by or have has can from you your which their"
)
"""Words that hardly an English sentence is without, and that other languages do not have."""

NEGATIONS: Final = _words(
    "no not never none neither nor nobody nothing nowhere cannot without lack lacks lacking absent absence fails failed"
    " unable kein keine keinen nicht nie niemals ohne sin nunca jamás"
)

_UNITS: Final = (
    "zero one two three four five six seven eight nine ten eleven twelve thirteen fourteen fifteen sixteen seventeen"
    " eighteen nineteen twenty"
)
_TENS: Final = "twenty thirty forty fifty sixty seventy eighty ninety"
NUMERALS: Final[Mapping[str, str]] = {
    **{word: str(value) for value, word in enumerate(_UNITS.split())},
    **{word: str(10 * value) for value, word in enumerate(_TENS.split(), start=2)},
}
SCALES: Final[Mapping[str, int]] = {
    "hundred": 100,
    "thousand": 1_000,
    "k": 1_000,
    "million": 1_000_000,
    "m": 1_000_000,
    "billion": 1_000_000_000,
}
MONTHS: Final[Mapping[str, str]] = {
    name: str(number)
    for number, names in enumerate(
        (
            "jan january januar",
            "feb february februar",
            "mar march märz",
            "apr april",
            "may mai",
            "jun june juni",
            "jul july juli",
            "aug august",
            "sep sept september",
            "oct october oktober",
            "nov november",
            "dec december dezember",
        ),
        start=1,
    )
    for name in names.split()
}

_OPPOSED: Final = (
    (
        """
        increase increases increased increasing rise rises rising rose raise raises raised higher high more greater
        enhance enhances enhanced promote promotes promoted activate activates activated activation induce induces
        induced upregulate upregulated upregulates elevate elevated improve improves improved gain gains grow grows
        """,
        """
        decrease decreases decreased decreasing fall falls falling fell lower low less fewer reduce reduces reduced
        reduction inhibit inhibits inhibited inhibition suppress suppresses suppressed downregulate downregulated
        downregulates impair impairs impaired decline declines declined loss lose worsen worsens shrink shrinks
        """,
    ),
    ("before prior earlier sooner", "after later following"),
    ("always must required mandatory obliged compulsory", "never optional voluntary"),
    ("minimum least", "maximum most"),
    ("allowed permitted may can allow allows permits", "prohibited forbidden banned prohibits forbids"),
    ("free gratis", "charged fee fees charge charges"),
    ("open opens opened", "closed closes close"),
    ("include includes included including", "exclude excludes excluded excluding"),
    ("fixed", "variable"),
    ("succeed succeeds succeeded success", "fail fails failed failure"),
    ("positive positively", "negative negatively"),
)
POLES: Final[Mapping[str, str]] = {
    word: f"{number}{side}"
    for number, pair in enumerate(_OPPOSED)
    for side, words in zip("+-", pair, strict=True)
    for word in words.split()
}
"""Directions and modes: words of one pole have the same value, which ends in `+` or `-`."""


def opposed(one: frozenset[str], other: frozenset[str]) -> bool:
    """Whether one names a pole of which the other names only the opposite."""
    for pole in one:
        against = pole[:-1] + ("-" if pole[-1] == "+" else "+")
        if against in other and pole not in other and against not in one:
            return True
    return False
