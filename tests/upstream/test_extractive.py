import gzip
import json
import random
import re
from pathlib import Path

import msgspec
import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from gateway.domain.errors import UpstreamError
from gateway.domain.model import ModelRequest
from gateway.domain.passage import Passage
from gateway.upstream.completion import Finished, Options, finish
from gateway.upstream.extractive import ExtractiveUpstream
from gateway.upstream.languages import Language
from gateway.upstream.quoting import NO_ANSWER, NO_PASSAGES, answer, choose
from gateway.upstream.terms import words
from gateway.upstream.units import units_of

SETS = Path(__file__).parents[2].parent / "shared" / "data" / "retrieval"


def passage(text, *, title="", section="", doc="d"):
    return Passage(doc=doc, number=0, revision="0" * 16, title=title, section=section, text=text, access=frozenset("g"))


FEES = passage(
    "The Plus account has more to offer. It costs 9 pounds a month.\n\n"
    "| Account | Monthly fee | Overdraft |\n|---|---|---|\n| Basic | £0 | none |\n| Plus | £9 | £250 |\n",
    title="Account fees",
)
PAPERS = passage(
    "Opening takes ten minutes.\n\n"
    "To open an account, bring:\n\n- a passport\n- a utility bill from the last *three* months\n"
    "\nA branch can copy both for you [3].",
    title="Opening an account",
)
CARDS = passage("Report a lost card at once on 0800 100. A lost card is blocked within seconds.", title="Lost cards")
ALL = (CARDS, FEES, PAPERS)


ANSWERS = [
    ("a sentence", "How do I report a lost card?", ALL, "Report a lost card at once on 0800 100 [1]."),
    (
        "a table row",
        "What is the overdraft of the Basic account?",
        ALL,
        "Account: Basic; Monthly fee: £0; Overdraft: none [2].",
    ),
    (
        "a whole list",
        "What should I bring to open an account?",
        ALL,
        "To open an account, bring: a passport; a utility bill from the last three months [3].",
    ),
    (
        "an item with its lead",
        "How old may the utility bill be?",
        (PAPERS,),
        "To open an account, bring: a utility bill from the last three months [1].",
    ),
    (
        "only the number of our own is a citation",
        "Can a branch copy both for me?",
        ALL,
        "A branch can copy both for you [3].",
    ),
    (
        "a question inside a story",
        "Hello, I moved here last year with my dog. How do I report a lost card?",
        ALL,
        "Report a lost card at once on 0800 100 [1].",
    ),
    ("another subject", "Who won the football match in Lisbon?", ALL, NO_ANSWER[Language.ENGLISH]),
    ("a greeting", "hello", ALL, NO_ANSWER[Language.ENGLISH]),
    ("words without meaning", "what is it?", ALL, NO_ANSWER[Language.ENGLISH]),
    ("an empty question", "", ALL, NO_ANSWER[Language.ENGLISH]),
    ("no passages", "How do I report a lost card?", (), NO_PASSAGES[Language.ENGLISH]),
    ("empty passages", "How do I report a lost card?", (passage(""), passage("---")), NO_PASSAGES[Language.ENGLISH]),
]


@pytest.mark.parametrize(("question", "passages", "expected"), [c[1:] for c in ANSWERS], ids=[c[0] for c in ANSWERS])
def test_answer(question, passages, expected):
    assert answer(question, passages, None).startswith(expected)


def test_a_sentence_that_points_back_brings_the_one_before():
    text = answer(
        "How much does it cost a month?", (passage("The Plus account is new. It costs 9 pounds a month."),), None
    )
    assert text == "The Plus account is new [1]. It costs 9 pounds a month [1]."


def test_the_same_sentence_in_two_passages_is_quoted_once():
    text = answer("How do I report a lost card?", (CARDS, CARDS), None)
    assert text.count("at once") == 1


def test_an_embedder_decides_between_lexically_equal_sentences():
    class Near:
        name, version, dimensions = "near", "1", 2

        def embed(self, texts):
            return np.array([[1, 0] if "card number" in text or "?" in text else [0, 1] for text in texts], np.float32)

    passages = (passage("Block a card by telephone today. Block a card by its card number today."),)
    question = "How to block a card?"
    chosen = choose(question, [units_of("", "", passages[0].text)], Near())
    assert (0, 1) in chosen
    assert answer(question, passages, Near()) == answer(question, passages, Near())


OVERDRAFTS = passage(
    "The rate is 35% a year. You pay no interest on the first 50 pounds. Interest is taken at the end of the month.",
    title="Overdrafts",
    doc="new",
)


def test_each_part_of_a_question_is_answered():
    text = answer("What is the interest rate of an overdraft, and when is it taken?", (CARDS, OVERDRAFTS), None)
    assert text == "The rate is 35% a year [2]. Interest is taken at the end of the month [2]."


def test_nothing_beside_the_point_is_appended():
    text = answer("Which accounts have an overdraft of £250?", ALL, None)
    assert text == "Account: Plus; Monthly fee: £9; Overdraft: £250 [2]."


def edition(rate, effective):
    text = f"| Service | Price |\n|---|---|\n| Arranged overdraft | {rate} |\n| Stopped cheque | £8 |\n"
    title = "Account prices" if effective > "2025" else "Old account prices 2024"
    return msgspec.structs.replace(passage(text, title=title, doc=effective), effective=effective)


EDITIONS = [
    ("the newer one is in force", "What is the price of an arranged overdraft?", ["£35"]),
    ("unless a year is named", "What was the price of an arranged overdraft in 2024?", ["£39"]),
    (
        "unless the past is asked for",
        "What was the old price of an arranged overdraft?",
        ["£39"],
    ),
]


@pytest.mark.parametrize(("question", "held"), [c[1:] for c in EDITIONS], ids=[c[0] for c in EDITIONS])
@pytest.mark.parametrize("turned", [False, True])
def test_of_two_editions_that_disagree(question, held, turned):
    passages = [edition("£39", "2024-03-01"), edition("£35", "2026-09-01")]
    text = answer(question, passages[::-1] if turned else passages, None)
    assert [price for price in ("£35", "£39") if price in text] == held


def test_editions_without_dates_are_equals():
    passages = [msgspec.structs.replace(edition(rate, "2024-01-01"), effective="") for rate in ("£39", "£35")]
    text = answer("What is the price of an arranged overdraft?", passages, None)
    assert "£39" in text
    assert "£35" in text


GERMAN = passage(
    "Gestohlene Karten sperren wir rund um die Uhr unter +49 69 90009 121. Die Ersatzkarte ist kostenlos.\n\n"
    "| Konto | Kontoführung im Monat |\n|---|---|\n| Basiskonto | 4,90 € |\n| Jugendkonto | 0 € |\n",
    title="Karten und Konten",
)
SPANISH = passage(
    "La cuenta básica es gratuita. Puede presentar reclamaciones en el teléfono +44 808 157 0134. "
    "La respuesta llega en un máximo de ocho semanas.",
    title="Cómo reclamar",
)
LANGUAGES = [
    ("Unter welcher Nummer sperre ich eine gestohlene Girokarte?", "+49 69 90009 121 [1]."),
    ("Was kostet die Kontoführung beim Basiskonto?", "Konto: Basiskonto; Kontoführung im Monat: 4,90 € [1]."),
    ("¿A qué número puedo llamar para reclamar?", "+44 808 157 0134 [2]."),
    ("¿Cuánto tarda la respuesta a una reclamación?", "La respuesta llega en un máximo de ocho semanas [2]."),
    ("Wer hat gestern das Spiel in Lissabon gewonnen?", NO_ANSWER[Language.GERMAN]),
    ("¿Quién ganó ayer el partido en Lisboa?", NO_ANSWER[Language.SPANISH]),
]


@pytest.mark.parametrize(("question", "ending"), LANGUAGES)
def test_german_and_spanish(question, ending):
    assert answer(question, (GERMAN, SPANISH), None).endswith(ending)


@pytest.mark.parametrize(
    ("question", "language"),
    [("What is it?", "en"), ("Was ist das?", "de"), ("¿Qué es eso?", "es"), ("", "en"), ("42", "en")],
)
def test_without_passages_it_says_so_in_the_language_of_the_question(question, language):
    assert answer(question, (), None) == NO_PASSAGES[Language(language)]


PIECES = st.sampled_from(
    [
        "The fee is 5 pounds. ",
        "Fees are **low**, e.g. none. ",
        "\n\n- item about the fee\n- other item [7]\n\n",
        "\n\n| A | Fee |\n|---|---|\n| x | 5 |\n\n",
        "You pay:\n1. a fee\n2. nothing\n\n",
        "# Heading of fees\n",
        "See [fees](fees.md) <PERSON_1>. ",
        "Unfinished fee",
    ]
)


@given(
    st.lists(st.lists(PIECES, max_size=5).map("".join), max_size=4), st.sampled_from(["What is the fee?", "item?", "x"])
)
def test_no_word_is_invented_and_every_citation_names_its_passage(texts, question):
    passages = tuple(passage(text) for text in texts)
    text = answer(question, passages, None)
    if text in {*NO_ANSWER.values(), *NO_PASSAGES.values()}:
        return
    start = 0
    for citation in re.finditer(r" \[(\d+)\]", text):
        source = passages[int(citation[1]) - 1]
        quoted = words(text[start : citation.start()])
        assert quoted
        assert set(quoted) <= set(words(source.text))
        start = citation.end()
    assert text[start:] in {".", "!", "?", "…"}, "every sentence is cited"
    assert "[7]" not in text


# --- the wire --------------------------------------------------------------------------------------------------


def request(body=None, *, question="How do I report a lost card?", passages=ALL):
    return ModelRequest(model="extractive", body=body or {}, question=question, passages=passages, exchange="ex-1")


MODEL = ExtractiveUpstream("extractive", clock=lambda: 1_700_000_000.5)
EXPECTED = "Report a lost card at once on 0800 100 [1]."


async def test_complete_in_the_wire_shape():
    reply = await MODEL.complete(request({"tools": [{"type": "function"}], "temperature": 1.5}))
    assert (reply.provider, reply.model) == ("extractive", "extractive")
    body = reply.body
    text = body["choices"][0]["message"]["content"]
    assert text.startswith(EXPECTED)
    assert body["choices"] == [
        {
            "index": 0,
            "message": {"role": "assistant", "content": text, "refusal": None},
            "logprobs": None,
            "finish_reason": "stop",
        }
    ]
    assert (body["id"], body["object"], body["created"]) == ("chatcmpl-ex-1", "chat.completion", 1_700_000_000)
    usage = body["usage"]
    assert usage["total_tokens"] == usage["prompt_tokens"] + usage["completion_tokens"]
    assert usage["completion_tokens"] > 10


@pytest.mark.parametrize(
    "body", [{}, {"n": 2}, {"max_tokens": 5}, {"stop": "0800"}, {"n": 3, "max_completion_tokens": 2}]
)
async def test_stream_says_what_complete_says(body):
    whole = (await MODEL.complete(request(body))).body
    chunks = [chunk async for chunk in MODEL.stream(request({**body, "stream_options": {"include_usage": True}}))]
    texts = dict.fromkeys(range(len(whole["choices"])), "")
    reasons = {}
    for chunk in chunks[:-1]:
        (choice,) = chunk["choices"]
        assert chunk["usage"] is None
        assert chunk["object"] == "chat.completion.chunk"
        assert choice["index"] not in reasons, "nothing follows a finish reason"
        texts[choice["index"]] += choice["delta"].get("content", "")
        if choice["finish_reason"]:
            reasons[choice["index"]] = choice["finish_reason"]
    assert chunks[-1]["choices"] == []
    assert chunks[-1]["usage"] == whole["usage"]
    for choice in whole["choices"]:
        assert texts[choice["index"]] == choice["message"]["content"]
        assert reasons[choice["index"]] == choice["finish_reason"]


async def test_no_usage_unless_asked_for():
    chunks = [chunk async for chunk in MODEL.stream(request())]
    assert all("usage" not in chunk for chunk in chunks)
    assert chunks[0]["choices"][0]["delta"] == {"role": "assistant", "content": "", "refusal": None}
    assert chunks[-1]["choices"][0]["finish_reason"] == "stop"


REFUSED = [
    ({"response_format": {"type": "json_object"}}, "unsupported"),
    ({"response_format": {"type": "json_schema", "json_schema": {}}}, "unsupported"),
    ({"response_format": "json"}, "unsupported"),
    ({"n": 0}, "invalid_value"),
    ({"n": 129}, "invalid_value"),
    ({"n": True}, "invalid_value"),
    ({"n": "2"}, "invalid_value"),
    ({"max_tokens": 0}, "invalid_value"),
    ({"max_completion_tokens": 1.5}, "invalid_value"),
    ({"stop": ["a", "b", "c", "d", "e"]}, "invalid_value"),
    ({"stop": 5}, "invalid_value"),
    ({"stop": ["a", None]}, "invalid_value"),
]


@pytest.mark.parametrize(("body", "code"), REFUSED)
async def test_what_cannot_be_honoured_is_refused(body, code):
    with pytest.raises(UpstreamError) as caught:
        await MODEL.complete(request(body))
    assert (caught.value.status, caught.value.code) == (400, code)
    with pytest.raises(UpstreamError):
        await anext(MODEL.stream(request(body)))


@pytest.mark.parametrize("body", [{"response_format": {"type": "text"}}, {"n": None, "stop": None, "max_tokens": None}])
async def test_defaults_spelled_out_are_accepted(body):
    assert (await MODEL.complete(request(body))).body["choices"][0]["message"]["content"].startswith(EXPECTED)


@pytest.mark.parametrize(
    "content",
    ["How do I report a lost card?", [{"type": "image_url"}, {"type": "text", "text": "How do I report a lost card?"}]],
)
async def test_question_is_the_last_user_message_if_none_is_given(content):
    messages = [{"role": "user", "content": "Who?"}, {"role": "user", "content": content}, {"role": "assistant"}]
    reply = await MODEL.complete(request({"messages": messages}, question=""))
    assert reply.body["choices"][0]["message"]["content"].startswith(EXPECTED)


@pytest.mark.parametrize(
    ("options", "expected"),
    [
        (Options(), Finished("one two, three.", "stop")),
        (Options(max_tokens=3), Finished("one two,", "length")),
        (Options(max_tokens=5), Finished("one two, three.", "stop")),
        (Options(stops=("three", ",")), Finished("one two", "stop")),
        (Options(stops=("two",), max_tokens=1), Finished("one ", "stop")),
        (Options(stops=("four",)), Finished("one two, three.", "stop")),
    ],
)
def test_finish(options, expected):
    assert finish("one two, three.", options) == expected


# --- quality on general questions -------------------------------------------------------------------------------


@pytest.mark.slow
@pytest.mark.parametrize("language", list(Language))
def test_quality_on_encyclopedia_questions(language):
    """Paragraphs of the same article that do not hold the answer are harder than strangers: `silent` is lower there."""
    file = SETS / f"xquad_{language.value}.jsonl.gz"
    if not file.exists():
        pytest.skip(f"the labelled set `retrieval/{file.name}` is not there")
    with gzip.open(file, "rt") as lines:
        rows = [json.loads(line) for line in lines]
    chance = random.Random(7)
    answered = held = silent = 0
    sample = chance.sample(rows, 300)
    for row in sample:
        strangers = [other["context"] for other in chance.sample(rows, 4) if other["title"] != row["title"]]
        text = answer(row["question"], [passage(row["context"]), *map(passage, strangers)], None)
        if text not in NO_ANSWER.values():
            answered += 1
            held += any(" ".join(words(gold)) in " ".join(words(text)) for gold in row["answers"])
        silent += answer(row["question"], list(map(passage, strangers)), None) in NO_ANSWER.values()
    assert answered / len(sample) > 0.75
    assert held / answered > 0.85
    assert silent / len(sample) > 0.97
