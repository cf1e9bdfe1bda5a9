import pytest
from hypothesis import given
from hypothesis import strategies as st

from gateway.upstream.languages import STOP_WORDS, Language, language_of, stem

TEXTS = [
    ("How much does the account cost?", "en"),
    ("Was war der Preis?", "de"),
    ("Wie hoch ist die Gebühr?", "de"),
    ("Was kostet das Konto im Monat?", "de"),
    ("¿Cuánto cuesta la cuenta al mes?", "es"),
    ("cuando llega la tarjeta nueva", "es"),
    ("Who was the first president of Los Angeles?", "en"),
    ("IBAN?", "en"),
    ("", "en"),
]


@pytest.mark.parametrize(("text", "language"), TEXTS)
def test_language_by_function_words(text, language):
    assert language_of(text) is Language(language)


STEMS = [
    ("en", "charges charged charging fees prices", "cost"),
    ("en", "policies policy", "policy"),
    ("en", "transferred transfers", "transfer"),
    ("en", "monthly months", "month"),
    ("en", "telephone call calls", "phone"),
    ("en", "family families", "family"),
    ("en", "business", "business"),
    ("en", "status", "status"),
    ("en", "customer's customers", "customer"),
    ("en", "2026", "2026"),
    ("en", "us", "us"),
    ("de", "kosten kostet gebühr gebühren entgelte", "kost"),
    ("de", "konto kontos konten", "kont"),
    ("de", "größe größen", "gross"),
    ("de", "nummer nummern", "numm"),
    ("es", "reclamar reclamación reclamaciones", "reclam"),
    ("es", "teléfono teléfonos", "telefon"),
    ("es", "cuenta cuentas", "cuent"),
    ("es", "comisión comisiones precios tarifa", "cost"),
]


@pytest.mark.parametrize(("language", "forms", "expected"), STEMS)
def test_forms_of_a_word_meet(language, forms, expected):
    assert {stem(form, Language(language)) for form in forms.split()} == {expected}


@pytest.mark.parametrize("language", list(Language))
@pytest.mark.parametrize(("one", "other"), [("card", "cart"), ("account", "amount"), ("konto", "kontrolle")])
def test_distinct_words_stay_apart(language, one, other):
    assert stem(one, language) != stem(other, language)


@given(st.from_regex(r"[abcdeginsyuáöß]{1,9}(['’][deginsyu]{1,4})?", fullmatch=True), st.sampled_from(list(Language)))
def test_stem_never_loses_a_word(word, language):
    assert stem(word, language)


@given(st.text(max_size=200))
def test_any_text_has_a_language(text):
    assert language_of(text) in STOP_WORDS
