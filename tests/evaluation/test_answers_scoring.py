"""Every expected number here is worked out by hand."""

import msgspec
import pytest

from gateway.domain.errors import FaultsFound
from gateway.domain.passage import Passage
from gateway.evaluation.answers import (
    GivenAnswer,
    Outcome,
    Question,
    QuestionFile,
    explained,
    holds,
    report,
    score,
)
from gateway.strict_yaml import load


def passage(doc, text):
    return Passage(doc=doc, number=0, revision="0" * 16, title="", text=text, access=frozenset({"g"}))


HOLDS = [
    ("The fee is £5.", "£5", True),
    ("The fee is £5,000.", "£5", False),
    ("The fee is £15.", "£5", False),
    ("In 2027.", "27", False),
    ("27 days", "27", True),
    ("It takes\n seven  working days.", "Seven working days", True),
    ("34.9% EAR", "34.9%", True),
    ("134.9%", "34.9%", False),
    ("adds +260 points", "+260", True),
    ("rates", "rate", False),
    ("", "x", False),
]


@pytest.mark.parametrize(("text", "fact", "expected"), HOLDS)
def test_a_fact_stands_whole(text, fact, expected):
    assert holds(text, fact) is expected


PASSAGES = (passage("fees", "The fee is £5."), passage("cards", "Cards are blue."))
FEE = Question(id="fee", ask="?", fact="£5", documents=("fees",))
HIDDEN = Question(id="hidden", ask="?", no_answer="hidden", hidden=("secret",), withheld="612 points")
ABSENT = Question(id="absent", ask="?", no_answer="absent", missing="gold")

SCORES = [
    ("right and cited", FEE, "It is £5 [1].", PASSAGES, ("right", True, True, False, 13)),
    ("right, cited with another passage", FEE, "It is £5 [2].", PASSAGES, ("right", True, False, False, 13)),
    ("one citation of several is right", FEE, "Blue [2]. It is £5 [1, 2].", PASSAGES, ("right", True, True, False, 26)),
    ("right, with an unknown citation", FEE, "It is £5 [1][7].", PASSAGES, ("right", True, False, False, 16)),
    ("right without a citation", FEE, "It is £5.", PASSAGES, ("right", True, False, False, 0)),
    ("a number of a citation is no fact", FEE, "See £[5][1].", PASSAGES, ("beside the point", True, False, False, 12)),
    ("beside the point", FEE, "Blue [2].", PASSAGES, ("beside the point", True, False, False, 9)),
    ("silent", FEE, "I do not know.", PASSAGES, ("silent", True, False, False, 0)),
    ("not found", FEE, "I do not know.", PASSAGES[1:], ("not found", False, False, False, 0)),
    ("nothing retrieved", FEE, "I do not know.", (), ("not found", False, False, False, 0)),
    ("rightly silent", ABSENT, "I do not know.", PASSAGES, ("right", False, False, False, 0)),
    ("talkative", ABSENT, "Blue [2].", PASSAGES, ("talkative", False, False, False, 9)),
    ("leaked in the text", HIDDEN, "From 612 points on.", PASSAGES, ("right", False, False, True, 0)),
    ("leaked to the model", HIDDEN, "No.", (passage("secret", "x"),), ("right", False, False, True, 0)),
]


@pytest.mark.parametrize(
    ("question", "text", "passages", "expected"), [case[1:] for case in SCORES], ids=[case[0] for case in SCORES]
)
def test_score(question, text, passages, expected):
    one = score(question, GivenAnswer(text=text, passages=passages))
    assert (one.outcome, one.found, one.cited, one.leaked, one.chars) == (Outcome(expected[0]), *expected[1:])
    assert one.answerable is bool(question.fact)


def test_report_counts_each_rate_over_its_own_questions():
    texts = [
        (FEE, "It is £5 [1]."),
        (FEE, "It is £5 [2]."),
        (FEE, "Blue [2]."),
        (FEE, "No."),
        (ABSENT, "No."),
        (ABSENT, "Blue [2]."),
        (HIDDEN, "612 points [2]."),
    ]
    found = report([score(question, GivenAnswer(text=text, passages=PASSAGES)) for question, text in texts])
    rates = {
        name: (getattr(found, name).hits, getattr(found, name).total)
        for name in ("found", "facts", "to_the_point", "cited", "silent", "right")
    }
    assert rates == {
        "found": (4, 4),
        "facts": (2, 4),
        "to_the_point": (2, 3),
        "cited": (1, 2),
        "silent": (1, 3),
        "right": (3, 7),
    }
    assert found.leaks == 1
    assert found.median_chars == 13  # of 13, 13, 9, 9, 15
    assert [one.id for one in found.failed] == ["fee", "fee", "absent", "hidden"]


def test_a_leak_is_a_failure_even_if_the_answer_is_right():
    one = score(HIDDEN, GivenAnswer(text="No.", passages=(passage("secret", "x"),)))
    assert one.outcome is Outcome.RIGHT
    assert report([one]).failed == (one,)


def test_report_of_nothing():
    found = report([])
    assert (found.right.total, found.leaks, found.median_chars, found.failed) == (0, 0, 0.0, ())


def test_every_failure_says_where_to_look():
    assert [outcome for outcome in Outcome if not explained(outcome)] == [Outcome.RIGHT]


def test_an_answer_prints_no_content():
    assert "secret" not in repr(GivenAnswer(text="secret word", passages=PASSAGES))


FAULTS = [
    ("questions: [{id: a, ask: b}]", "either `fact` or `no_answer`"),
    ("questions: [{id: a, ask: b, fact: c, no_answer: absent}]", "either `fact` or `no_answer`"),
    ("questions: [{id: a, ask: b, no_answer: maybe}]", "no_answer"),
    ("questions: [{id: a, ask: b, fact: c, extra: d}]", "extra"),
]


@pytest.mark.parametrize(("text", "expected"), FAULTS)
def test_a_faulty_question_file_is_refused(text, expected):
    with pytest.raises(FaultsFound, match=expected):
        load(f"version: 1\n{text}\n", "questions.yaml", QuestionFile)


def test_examples_are_left_to_others():
    read = load("version: 1\nquestions: []\ntry: [{id: a}]\n", "questions.yaml", QuestionFile)
    assert msgspec.to_builtins(read)["try"] == [{"id": "a"}]
