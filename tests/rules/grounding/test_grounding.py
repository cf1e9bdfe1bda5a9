"""Answers against the passages that they were made of: what is supported, what is not, and what cannot be known."""

import time

import pytest
from hypothesis import given
from hypothesis import strategies as st

from gateway.domain.grounds import NO_GROUNDS, Grounds, Support
from gateway.domain.passage import Passage
from gateway.domain.ports import GroundedDetector
from gateway.domain.signal import EMPTY_SCAN
from rules.grounding.detector import CitationDetector, GroundingDetector
from rules.grounding.evidence import evidence_of
from rules.grounding.sentences import sentences
from rules.grounding.support import judge
from rules.grounding.words import number, read, stem, weight

FEES = (
    "The Plus Current Account has a monthly fee of £9.50. Paying by card abroad is free of charge. Transfers above"
    " 1,000 euros are not sent on Sundays. The offer ends on 31 March 2027."
)
BRANCH = "The branch in Mill Street is open from nine to five on weekdays. Visitors must bring a passport."
GERMAN = "Das Girokonto kostet im Monat fünf Euro. Bargeld gibt es an allen Automaten der Bank ohne weiteres Entgelt."


def passage(text: str, number: int = 0) -> Passage:
    return Passage(doc="d.md", number=number, revision="r", title="Fees", text=text, access=frozenset())


def grounds(*texts: str, question: str = "") -> Grounds:
    return Grounds(passages=tuple(passage(text, i) for i, text in enumerate(texts)), question=question)


def states(answer: str, *texts: str, question: str = "") -> list[tuple[str, str]]:
    (scan,) = GroundingDetector(grounds(*texts, question=question)).scan([answer])
    return [(one.kind.removeprefix("grounding."), one.evidence) for one in scan.findings]


@pytest.mark.parametrize(
    "answer",
    [
        "The Plus Current Account has a monthly fee of £9.50 [1].",
        "Paying by card abroad is free of charge.",
        "The monthly fee of the Plus account is £9.50, and card payments abroad are free [1].",
        "Transfers above 1000 euros are not sent on Sundays.",
        "The offer ends on 2027-03-31.",
        "- Paying by card abroad: free of charge [1]",
        "1. The monthly fee is £9.50.",
    ],
)
def test_what_passages_say_is_supported(answer):
    assert states(answer, BRANCH, FEES) == []


TABLE = (
    "| Account | Monthly fee | Overdraft buffer | Card |\n|---|---|---|---|\n| Everyday | £0 | £50 | Standard |\n"
    "| Plus | £9.50 | £250 | Plus, free abroad |\n| Basic | £0 | none, no overdraft offered | Standard |"
)


def test_a_row_of_a_table_has_its_negation_wherever_the_row_stands():
    told = "Account: Basic; Monthly fee: £0; Overdraft buffer: none, no overdraft offered; Card: Standard."
    assert states(told, TABLE) == []
    assert states("The Everyday account has no monthly fee, no overdraft buffer of £50 and no card.", TABLE) == [
        ("contradicted", "negation")
    ]


@pytest.mark.parametrize(
    ("answer", "state"),
    [
        ("The Plus Current Account has a monthly fee of £12.", ("contradicted", "other_number")),
        ("Transfers above 1,000 euros are sent on Sundays.", ("contradicted", "negation")),
        ("The Plus Current Account has no monthly fee of £9.50.", ("contradicted", "negation")),
        ("Transfers above 7,000 people annoy elephants.", ("unsupported", "number")),
        ("The branch in Quill Street is open from nine to five on weekdays.", ("unsupported", "name")),
        ("Electric vehicles recharge underneath the town hall.", ("unsupported", "words")),
        ("Kunden erhalten jederzeit kostenlos eine weitere Karte zugesandt.", ("unknown", "other_language")),
    ],
)
def test_what_they_do_not_say_is_told_with_a_reason(answer, state):
    assert states(answer, BRANCH, FEES) == [state]


@pytest.mark.parametrize(
    "answer",
    [
        "",
        "   \n ",
        "Hello! How can I help you today?",
        "Here are the fees:",
        "The passages do not say whether dogs are allowed.",
        "I'm sorry, I cannot answer this.",
        "Do you want to know more about elephants?",
        "Die mir vorliegenden Dokumente beantworten diese Frage nicht.",
        "Los documentos que tengo no responden a esta pregunta.",
        "Yes.",
        "[1]",
    ],
)
@pytest.mark.parametrize("texts", [(), (FEES,)], ids=["no passages", "passages"])
def test_what_claims_nothing_is_not_judged(answer, texts):
    assert GroundingDetector(grounds(*texts)).scan([answer]) == [EMPTY_SCAN]


def test_a_number_is_judged_whatever_courtesy_is_around_it():
    assert states("I'm sorry, but the monthly fee is £99.", FEES)[0][0] in {"unsupported", "contradicted"}
    assert states("Is it not fine that the fee is £99?", FEES) != []


def test_without_passages_nothing_is_supported():
    (scan,) = GroundingDetector().scan(["The fee is £9.50. The branch is open."])
    assert [one.kind for one in scan.findings] == ["grounding.unknown"] * 2
    assert scan.values == {"grounding.unknown": True}
    assert judge(read("The fee is low"), evidence_of([], "")).support is Support.UNKNOWN


def test_an_answer_in_the_language_of_its_passages_is_judged():
    assert states("Das Girokonto kostet fünf Euro im Monat.", GERMAN) == []
    assert states("Elefanten fressen am liebsten frisches Gras aus Süddeutschland.", GERMAN) == [
        ("unsupported", "words")
    ]


def test_words_of_the_question_are_no_claim():
    assert states("A giraffe loan: the monthly fee is £9.50.", FEES, question="What does a giraffe loan cost?") == []


def test_findings_cover_their_sentences_with_the_citation():
    answer = (
        "Paying by card abroad is free of charge [1]. Electric vehicles recharge underneath the town hall [1]. Bye."
    )
    (scan,) = GroundingDetector(grounds(FEES)).scan([answer])
    found = [answer[one.start : one.end] for one in scan.findings]
    assert found[0] == "Electric vehicles recharge underneath the town hall [1]. "
    assert scan.values["grounding.unsupported"] >= 0.5


def test_passages_that_are_far_longer_than_an_answer_take_little_time():
    detector = GroundingDetector(grounds(*[f"{FEES} {i}" * 40 for i in range(8)]))
    assert len(detector.scan([FEES * 20])) == 1


@pytest.mark.parametrize(
    "text",
    [
        "." * 60_000 + "a",
        ".)" * 30_000 + "a",
        "a. " * 20_000,
        "[1" * 30_000,
        "[1]" * 20_000,
        " " * 60_000 + "a.",
        "text " * 12_000,
        "\n" * 60_000,
        "I" * 60_000,
        "。" * 20_000,
    ],
    ids=lambda text: f"{text[:4]!r}",
)
def test_hostile_texts_take_time_in_proportion(text):
    about = grounds(FEES, BRANCH)
    started = time.perf_counter()
    for detector in (GroundingDetector(about), CitationDetector(about)):
        detector.scan([text])
    assert time.perf_counter() - started < 10


# Citations


def cited(answer: str, *texts: str) -> list[tuple[str, str]]:
    (scan,) = CitationDetector(grounds(*texts)).scan([answer])
    assert set(scan.values) == {one.kind for one in scan.findings}
    return [(answer[one.start : one.end], one.evidence) for one in scan.findings]


@pytest.mark.parametrize(
    ("answer", "found"),
    [
        ("The Plus Current Account has a monthly fee of £9.50 [1].", []),
        ("The Plus Current Account has a monthly fee of £9.50. [1]", []),
        ("The Plus Current Account has a monthly fee of £9.50 [2].", [("[2]", "number")]),
        ("The Plus Current Account has a monthly fee of £9.50 [1, 2].", []),
        ("The Plus Current Account has a monthly fee of £9.50 [3].", [("[3]", "no_such_passage")]),
        ("The Plus Current Account has a monthly fee of £9.50 [0].", [("[0]", "no_such_passage")]),
        ("The branch in Mill Street is open on weekdays. Visitors must bring a passport [2].", []),
        (
            "Visitors must bring a passport.\nThe branch in Mill Street is open on weekdays [2].",
            [("Visitors must bring a passport.\n", "no_marker")],
        ),
        ("The passages do not say.", []),
    ],
)
def test_citations_hold_or_are_told(answer, found):
    assert cited(answer, FEES, BRANCH) == found


def test_no_citation_is_missing_where_there_is_nothing_to_cite():
    assert cited("The fee is £9.50.") == []
    assert cited("The fee is £9.50 [1].") == [("[1]", "no_such_passage")]


def test_the_support_of_each_cited_passage_is_that_of_its_worst_sentence():
    detector = CitationDetector(grounds(FEES, BRANCH, GERMAN))
    answer = (
        "Paying by card abroad is free of charge [1]. The branch is open on weekdays [2]."
        " Elephants recharge underneath the town hall [2]."
    )
    assert detector.support(answer) == {1: Support.SUPPORTED, 2: Support.UNSUPPORTED}
    assert detector.support("No citation [9].") == {}


# Laws


@pytest.mark.parametrize("kind", [GroundingDetector, CitationDetector])
def test_a_bound_detector_is_the_same_detector(kind):
    detector = kind()
    bound = detector.on(grounds(FEES))
    assert isinstance(detector, GroundedDetector)
    assert (bound.name, bound.version, bound.signals) == (detector.name, detector.version, detector.signals)
    assert detector.scan(["The fee is £9.50 [1]."]) != bound.scan(["The fee is £9.50 [1]."])


TEXT = st.text(st.sampled_from("ab Z1.,;[]!?\n-'£9“。 ünot"), max_size=80)


@given(TEXT)
def test_sentences_cover_the_text_in_order(text):
    at = 0
    for one in sentences(text):
        assert text[at : one.start].strip() == ""
        assert one.start < one.end <= len(text)
        at = one.end
    assert text[at:].strip() == ""


@given(st.lists(TEXT, max_size=3), TEXT)
def test_any_text_has_well_formed_results(texts, passage_text):
    about = grounds(passage_text, FEES)
    for detector in (GroundingDetector(about), CitationDetector(about), GroundingDetector(NO_GROUNDS)):
        scans = detector.scan(texts)
        assert len(scans) == len(texts)
        for text, scan in zip(texts, scans, strict=True):
            assert all(0 <= one.start < one.end <= len(text) and 0 <= one.score <= 1 for one in scan.findings)
            assert set(scan.values) <= set(detector.signals)


@given(st.sampled_from([*sentences(FEES), *sentences(BRANCH)]))
def test_a_quotation_is_supported_and_more_passages_do_not_change_that(sentence):
    alone = FEES if sentence.text in FEES else BRANCH
    assert states(sentence.text, alone) == []
    assert states(sentence.text, FEES, BRANCH, GERMAN) == []


# Reading


@pytest.mark.parametrize(
    ("token", "value"),
    [("1,000", "1000"), ("1.000", "1000"), ("1\u202f000", "1000"), ("9.50", "9.5"), ("9,5", "9.5"), ("1.2.3", "1.2.3")],
)
def test_numbers_have_one_spelling(token, value):
    assert number(token) == value


def test_numbers_in_words_scales_and_months():
    assert read("Five million people in March").numbers == {"5"}
    assert read("2 million").numbers == {"2000000"}
    assert read("31 March").implied == {"3"}
    assert read("one of them").numbers == frozenset()


@pytest.mark.parametrize(
    ("one", "other"), [("payments", "payment"), ("charged", "charges"), ("regulation", "regulations")]
)
def test_inflections_fold(one, other):
    assert stem(one) == stem(other)


def test_rare_words_count_more():
    assert weight(stem("important")) < weight(stem("mortgage")) < weight("mitochondriopathi") == 1.0


def test_scripts_without_spaces_are_read_in_pairs():
    assert read("银行账户").stems == {"银行", "行账", "账户"}


def test_texts_do_not_show_in_representations():
    about = grounds("canary-7f3a")
    assert "canary" not in repr(about)
    assert "canary" not in repr(next(sentences("canary-7f3a is here.")))
