import time

import pytest

from gateway.domain.passage import Passage
from gateway.upstream.languages import Language
from gateway.upstream.question import MAX_PARTS, read_question, readings
from gateway.upstream.quoting import answer

PARTS = [
    ("What does it cost?", [["cost"]]),
    ("What is the fee of the card, and when is it due?", [["cost", "card"], ["due", "cost", "card"]]),
    ("What is the fee of the card? When must the bill be paid?", [["cost", "card"], ["bill", "paid", "cost", "card"]]),
    ("What are the smallest and the largest limit?", [["minimum", "maximum", "limit"]]),
    ("Was kostet die Karte und wann kommt sie?", [["kost", "kart"], ["kommt", "kost", "kart"]]),
    ("¿Cuánto cuesta la tarjeta y cuándo llega?", [["cost", "tarjet"], ["lleg", "cost", "tarjet"]]),
]


@pytest.mark.parametrize(("text", "expected"), PARTS)
def test_parts_and_the_terms_they_carry(text, expected):
    assert [list(part[0].terms) for part in readings(text)] == expected


def test_carried_terms_count_less_than_own_ones():
    _, (second,) = readings("What is the fee of the card, and when is it due?")
    assert second.weights == (1.0, 0.5, 0.5)
    assert second.text == "What is the fee of the card when is it due?"


def test_a_question_in_a_story_is_read_with_and_without_it():
    ((whole, alone),) = readings("I moved to Leeds last year with my dog. How do I report a lost card?")
    assert "dog" in whole.terms
    assert alone.terms == ("report", "lost", "card")


def test_names_and_numbers_stand_out():
    assert read_question("When did the Plus fee rise to 9.50?").marks == {"plus", "9.50"}
    assert read_question("Was kostet die Karte seit 2024?", Language.GERMAN).marks == {"2024"}


def test_parts_are_bounded():
    assert len(readings("What is the fee of a card? " * 20)) == MAX_PARTS


def test_the_text_of_a_question_is_not_shown():
    assert "secret" not in repr(read_question("What is the secret word?"))


@pytest.mark.parametrize(
    "piece", ["how much and what ", "Überziehungszins ", "a1 ", "What is it? ", "wie " * 3 + "und "]
)
def test_a_very_long_question_costs_little(piece):
    text = "The fee is 5 pounds. Die Überziehung kostet nichts. " * 40
    passage = Passage(doc="d", number=0, revision="0" * 16, title="", text=text, access=frozenset("g"))
    started = time.perf_counter()
    answer(piece * 20_000, (passage,), None)
    assert time.perf_counter() - started < 5
