"""The beginning of an unfinished sentence: what leaves with which piece, and that no cut changes what has left."""

import itertools

import pytest
from hypothesis import given
from hypothesis import strategies as st
from support.fakes import NOW, FakeInspector, FakePolicy

from gateway.domain.verdict import Evidence
from gateway.domain.vocabulary import Effect, Phase
from gateway.enforce.pseudonyms import PseudonymMap
from gateway.enforce.redaction import Redactor
from gateway.enforce.release import Cut, TextRelease
from gateway.enforce.units import Granularity
from rules.growing import GrowingMatches, beginnings

# `pay at x` may be an address, `1234 5678` is a card, `forbidden` is refused.
GROWING = GrowingMatches([beginnings(r"\b[a-z]+ at [a-z]+"), beginnings(r"\d{4} \d{4}"), beginnings("forbidden")])


class Judge:
    """Sees the words of `support.fakes`; counts the decisions."""

    def __init__(self) -> None:
        self.policy = FakePolicy({Phase.ANSWER: {"CARD": Effect.REDACT, "forbidden": Effect.REFUSE}})
        self.inspector = FakeInspector()
        self.kept: list[bool] = []

    async def inspect(self, segments, *, keep=True):
        self.kept.append(keep)
        return await self.inspector.inspect(segments, detectors=frozenset(), timeouts={}, default_timeout_s=1)

    def decide(self, values, runs):
        return self.policy.decide(Evidence(phase=Phase.ANSWER, fields={}, values=values, runs=runs), now=NOW)


def text_release(judge: Judge | None = None) -> TextRelease:
    cut = Cut(granularity=Granularity.SENTENCE, growing=GROWING, eager=True)
    return TextRelease(judge or Judge(), Redactor(PseudonymMap(), b"k" * 32), cut)


@pytest.mark.parametrize(
    ("pieces", "left"),
    [
        (["Pay", " it", " now"], ["", "Pay", " it"]),  # a word leaves when the next one begins
        (["Pay it now and"], ["Pay it now"]),  # many words of one piece leave together
        (["pay", " and", " go"], ["", "pay", " and"]),  # `pay a` may grow into `pay at …`, `pay an` may not
        (["pay", " a", "nd", " go"], ["", "", "pay", " and"]),
        (["pay", " a", "t", " go", " on"], ["", "", "", "", "pay at go"]),  # nothing was found in what had grown
        (["see 1234", " 567", " then"], ["see", "", " 1234 567"]),
        (["see 1234", " 5678", " then", " go"], ["see", "", "", ""]),  # found: held to the end of the sentence
        (["see", " ", "  ", "it"], ["", "", "", "see"]),  # white space alone decides nothing
        (["", " ", "x", " y"], ["", "", "", " x"]),
    ],
)
async def test_words_leave_as_soon_as_nothing_grows_from_them(pieces, left):
    release = text_release()
    assert [(await release.feed(piece)).text for piece in pieces] == left


async def test_beginnings_are_not_remembered_and_whole_sentences_are():
    judge = Judge()
    release = text_release(judge)
    await release.feed("Pay it")
    await release.feed(" now. Then")
    await release.finish()
    assert judge.kept == [False, True, True]


async def test_one_decision_serves_all_quiet_beginnings_between_two_sentences():
    judge = Judge()
    release = text_release(judge)
    for piece in ["Pay", " it", " now", " to", " me"]:
        await release.feed(piece)
    assert len(judge.policy.asked) == 1
    await release.feed(". And")
    await release.feed(" that")
    assert len(judge.policy.asked) == 3, "once for the sentence, once for what follows it"


WORDS = st.sampled_from(
    ["pay", "at", "and", "a", "1234", "5678", "forbidden", "forbid", "it.", "so!", " ", "\n", "é", "。", "1"]
)


@given(
    st.lists(WORDS, min_size=1, max_size=14),
    st.lists(st.integers(0, 80), max_size=12),
    st.sampled_from([" ", "", "  "]),
)
async def test_no_cut_changes_what_leaves(words, cuts, between):
    text = between.join(words)
    places = sorted({0, len(text), *(cut for cut in cuts if cut < len(text))})
    whole, streamed = text_release(), text_release()
    expected = (await whole.whole(text)).text
    pieces = [text[start:end] for start, end in itertools.pairwise(places)]
    found = "".join([(await streamed.feed(piece)).text for piece in pieces])
    found += (await streamed.finish()).text
    assert found == expected
    assert (streamed.stopped is None) == (whole.stopped is None)
