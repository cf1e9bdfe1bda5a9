"""Whether passages support a claim.

The score joins the measures of `rules.grounding.evidence` in a logistic model, fitted on the SciFact claim pairs of the
labelled sets (Wadden et al. 2020). It is moved so that 0.5 is where one in twenty claims that a passage supports in
other words is still called unsupported by it. Three observations decide alone, since a sentence that is copied but for
one word has every measure near 0: a number that is in no passage, a name in the place of another, and a near sentence
that says the opposite; they double the false alarms on claims in quite other words. Whatever no word gives away (an
antonym that is in no list) is missed.
"""

import math
from collections.abc import Mapping
from typing import Final

from msgspec import Struct

from gateway.domain.grounds import Support
from rules.grounding.evidence import Evidence, Measures
from rules.grounding.words import Claim

GROUNDING_VERSION: Final = "2"
"""Moves with every change of reading, measures or weights."""

UNSUPPORTED: Final = 0.5
"""The score from which a sentence is unsupported."""

_BIAS: Final = -2.62
_WEIGHTS: Final[Mapping[str, float]] = {
    "missing": 2.65,
    "apart": 0.31,
    "rare": 0.13,
    "numbers": 0.89,
    "names": 0.38,
    "turned": 0.79,
    "opposed": 1.38,
}
_FOREIGN: Final = 0.4  # missing share from which a text that looks like another language is one; table rows are not
_STEP: Final = 0.02
_NEAR: Final = 0.6  # share of a claim that one sentence covers, from which what differs is put against it
_SAME: Final = 0.75  # the same for a bare negation, which scientific prose uses for much else


class Judgement(Struct, frozen=True):
    """`score` is 0 for what passages say word for word, and 0 where the support is unknown. `why` is a stable code."""

    support: Support
    score: float = 0.0
    why: str = ""


def judge(claim: Claim, evidence: Evidence) -> Judgement:
    """What the evidence says of a claim that is not empty. Pure."""
    if not evidence:
        return Judgement(Support.UNKNOWN, why="no_passages")
    found = evidence.measure(claim)
    if claim.english is not evidence.english and found.missing > _FOREIGN:
        return Judgement(Support.UNKNOWN, why="other_language")
    score = _score(found)
    against = _against(found)
    if against:
        return Judgement(Support.CONTRADICTED, _at_least(score), against)
    if found.numbers:
        return Judgement(Support.UNSUPPORTED, _at_least(score), "number")
    if found.names and found.other_names and found.covered >= _NEAR:
        return Judgement(Support.UNSUPPORTED, _at_least(score), "name")
    if score >= UNSUPPORTED:
        return Judgement(Support.UNSUPPORTED, score, "words")
    return Judgement(Support.SUPPORTED, score)


def _against(found: Measures) -> str:
    """What a near sentence says against the claim; "" for nothing."""
    if found.numbers and found.other_numbers and found.covered >= _NEAR:
        return "other_number"
    if found.opposed and found.covered >= _NEAR:
        return "opposite"
    if found.turned and found.covered >= _SAME:
        return "negation"
    return ""


def _at_least(score: float) -> float:
    """The score of a sentence that one observation decides: unsupported, and in the order of the measures."""
    return max(score, UNSUPPORTED + _STEP * score)


def _score(found: Measures) -> float:
    logit = _BIAS + sum(weight * getattr(found, name) for name, weight in _WEIGHTS.items())
    return 1 / (1 + math.exp(-logit))
