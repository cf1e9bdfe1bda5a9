import time

import pytest

from gateway.upstream.asking import Kind, asked_kinds, held_kinds
from gateway.upstream.languages import Language, language_of

QUESTIONS = [
    ("What does the account cost?", {"money", "percent"}),
    ("Up to what value may I accept a gift?", {"money", "percent"}),
    ("What is the interest rate on a loan?", {"percent"}),
    ("Which number do I ring to report a theft?", {"contact"}),
    ("How long is it valid?", {"duration"}),
    ("How many working days does it take?", {"duration"}),
    ("How many devices can I use?", {"number"}),
    ("Until when can I cancel?", {"time", "date"}),
    ("Who signs?", {"name"}),
    ("Is it raining?", set()),
    ("Wie lange dauert es?", {"duration"}),
    ("Wie hoch ist der Sollzins?", {"percent"}),
    ("Was kostet die Karte?", {"money", "percent"}),
    ("Unter welcher Nummer erreiche ich die Bank?", {"contact"}),
    ("¿Cuántos días tengo?", {"duration"}),
    ("¿A qué número puedo llamar?", {"contact"}),
    ("¿Dónde está la oficina?", {"name"}),
]


@pytest.mark.parametrize(("question", "kinds"), QUESTIONS)
def test_what_a_question_asks_for(question, kinds):
    assert asked_kinds(question, language_of(question)) == {Kind(kind) for kind in kinds}


TEXTS = [
    ("£9.50 a month", {"money", "number", "duration"}),
    ("It is free of charge", {"money", "number"}),
    ("34.9% EAR", {"percent", "number"}),
    ("by 14:30", {"time", "number"}),
    ("on 1 September 2026", {"date", "number", "name"}),
    ("+44 808 157 0121", {"contact", "number"}),
    ("write to desk@bank.example", {"contact"}),
    ("ask Anna Weber", {"name"}),
    ("nothing of it", set()),
    ("nach drei Wochen", {"number", "duration", "name"}),
    ("en ocho semanas", {"number", "duration"}),
]


@pytest.mark.parametrize(("text", "kinds"), TEXTS)
def test_what_a_text_holds(text, kinds):
    assert held_kinds(text) == {Kind(kind) for kind in kinds}


@pytest.mark.parametrize("language", list(Language))
@pytest.mark.parametrize("piece", ["how much ", "which number ", "qué número ", "1 ", "A ", "@a."])
def test_hostile_texts_cost_little(language, piece):
    started = time.perf_counter()
    asked_kinds(piece * 1_000, language)
    held_kinds(piece * 1_000)
    assert time.perf_counter() - started < 1
