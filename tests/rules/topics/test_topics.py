"""Topics named by examples: the score's laws with a plain embedder, its use with the packaged one."""

import gzip
import json
import random
import re
from collections.abc import Sequence
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from numpy.typing import NDArray

from gateway.domain.definition import TopicDefinition
from gateway.domain.errors import ConfigurationError
from gateway.domain.signal import EMPTY_SCAN
from gateway.domain.vocabulary import Placement, SignalType
from gateway.retrieval.embedding import MiniLmEmbedder
from rules.topics import TopicDetector
from rules.topics.windows import WHOLE_WORDS, WINDOW_WORDS, windows

CLINC = Path(__file__).parents[4] / "shared/data/topic"


class WordEmbedder:
    """Sentences with common words are near: each word is a fixed random direction."""

    name = "words"
    version = "1"
    dimensions = 64

    def __init__(self, factor: float = 1.0) -> None:
        self.factor = factor
        self.asked: list[str] = []

    def embed(self, texts: Sequence[str]) -> NDArray[np.float32]:
        self.asked += texts
        rows = np.stack([self._row(text) for text in texts])
        return rows * np.float32(self.factor)

    def _row(self, text: str) -> NDArray[np.float32]:
        total = np.zeros(self.dimensions)
        for word in re.findall(r"\w+", text.lower()):
            total += np.random.default_rng(sum(word.encode()) * 31 + len(word)).normal(size=self.dimensions)
        return (total / (np.linalg.norm(total) or 1)).astype(np.float32)


CREDIT = TopicDefinition(
    id="credit",
    like=("am I approved for the loan", "decide whether she gets the loan", "is the loan approved for me"),
    unlike=("what documents does the loan need",),
)
WEATHER = TopicDefinition(id="weather", like=("will it rain tomorrow", "is tomorrow a sunny day"))


def score(text: str, *definitions: TopicDefinition) -> float:
    (result,) = TopicDetector(definitions or (CREDIT,), WordEmbedder()).scan([text])
    return float(result.values.get("topic.credit", 0.0))


def test_declares_a_score_per_topic() -> None:
    detector = TopicDetector([CREDIT, WEATHER], WordEmbedder())
    assert (detector.name, detector.placement) == ("topics", Placement.THREAD)
    assert detector.signals == {"topic.credit": SignalType.SCORE, "topic.weather": SignalType.SCORE}


def test_an_example_scores_high_and_another_matter_low() -> None:
    assert score("Am I approved for the loan?") > 0.7
    assert score("where can mother park her red bicycle") < 0.3


def test_an_unlike_example_lowers_what_is_near_to_it() -> None:
    question = "what documents does the loan need"
    without = TopicDefinition(id="credit", like=CREDIT.like)
    assert score(question) < score(question, without)
    assert score("will it rain tomorrow") == pytest.approx(score("will it rain tomorrow", without), abs=0.1)


def test_each_topic_has_its_own_score_and_finding() -> None:
    text = "Hello there \U0001f642 my friend. Will it rain tomorrow? Am I approved for the loan?"
    (result,) = TopicDetector([CREDIT, WEATHER], WordEmbedder()).scan([text])
    assert result.values["topic.credit"] > 0.7
    assert result.values["topic.weather"] > 0.7
    spans = {finding.kind: text[finding.start : finding.end] for finding in result.findings}
    assert spans == {"topic.credit": "Am I approved for the loan?", "topic.weather": "Will it rain tomorrow?"}
    assert {finding.score for finding in result.findings} == set(result.values.values())


def test_a_sentence_scores_the_same_inside_a_long_text() -> None:
    filler = "Mother parks her red bicycle behind that old mill. " * 200
    assert score(f"{filler}Am I approved for the loan? {filler}") == pytest.approx(
        score("Am I approved for the loan?"), abs=1e-3
    )


def test_disguised_letters_change_nothing() -> None:
    plain = "Am I approved for the loan?"
    disguised = plain.replace("o", "\u043e").replace("the", "t\u200bhe")
    (result,) = TopicDetector([CREDIT], WordEmbedder()).scan([disguised])
    assert result.values["topic.credit"] == score(plain)
    assert (result.findings[0].start, result.findings[0].end) == (0, len(disguised))


def test_texts_are_embedded_once_and_answered_in_order() -> None:
    embedder = WordEmbedder()
    detector = TopicDetector([CREDIT], embedder)
    embedder.asked.clear()
    results = detector.scan(
        ["Am I approved for the loan?", " \n", "Am I approved for the loan?", "hello my old friend"]
    )
    assert results[0] == results[2]
    assert results[1] == EMPTY_SCAN
    assert results[3].values["topic.credit"] < results[0].values["topic.credit"]
    assert len(embedder.asked) == len(set(embedder.asked))


def test_no_topics_or_texts_need_no_embedding() -> None:
    embedder = WordEmbedder()
    assert TopicDetector([], embedder).scan(["text"]) == [EMPTY_SCAN]
    assert TopicDetector([CREDIT], WordEmbedder()).scan([]) == []
    assert embedder.asked == []


@pytest.mark.parametrize(
    ("definition", "message"),
    [
        (TopicDefinition(id="t", like=()), "topic `t` has no example"),
        (TopicDefinition(id="t", like=("a", " ")), "topic `t` has no example or an empty one"),
        (TopicDefinition(id="t", like=("a",), unlike=("",)), "topic `t` has no example or an empty one"),
        (TopicDefinition(id="t", like=("a", "b"), unlike=("b",)), "topic `t` has an example in both"),
    ],
)
def test_a_topic_that_cannot_work_is_refused_by_name(definition: TopicDefinition, message: str) -> None:
    with pytest.raises(ConfigurationError, match=message):
        TopicDetector([definition], WordEmbedder())


def test_ids_are_unique() -> None:
    with pytest.raises(ConfigurationError, match="same id"):
        TopicDetector([CREDIT, CREDIT], WordEmbedder())


def test_version_moves_with_examples_and_embedder() -> None:
    version = TopicDetector([CREDIT], WordEmbedder()).version
    reordered = TopicDefinition(id="credit", like=CREDIT.like[::-1], unlike=CREDIT.unlike)
    other = WordEmbedder()
    other.version = "2"
    assert TopicDetector([reordered], WordEmbedder()).version == version
    assert TopicDetector([WEATHER], WordEmbedder()).version != version
    assert TopicDetector([CREDIT], other).version != version


def test_a_broken_embedding_is_a_failure_and_no_low_score() -> None:
    embedder = WordEmbedder()
    detector = TopicDetector([CREDIT], embedder)
    embedder.factor = float("nan")
    with pytest.raises(FloatingPointError):
        detector.scan(["Am I approved for the loan?"])


@given(st.text("ab .!?\n\u00e4\u3002", max_size=200) | st.integers(0, 300).map(lambda n: "word " * n))
def test_windows_cover_every_word_and_stay_small(text: str) -> None:
    pieces = windows(text)
    covered = {i for piece in pieces for i in range(piece.start, piece.end)}
    assert covered >= {i for i, char in enumerate(text) if not char.isspace()}
    assert all(piece.text == text[piece.start : piece.end] for piece in pieces)
    assert all(len(piece.text.split()) <= max(WINDOW_WORDS, WHOLE_WORDS) for piece in pieces)
    assert len({(piece.start, piece.end) for piece in pieces}) == len(pieces)


def test_windows_are_sentences_with_their_fragments() -> None:
    text = "Hello. Is version 2.5 out now? Yes it is out. Thanks a lot"
    assert [piece.text for piece in windows(text)] == [
        "Hello. Is version 2.5 out now?",
        "Yes it is out. Thanks a lot",
        text,
    ]
    assert "Hello" not in repr(windows(text)[0])


@pytest.fixture(scope="module")
def minilm() -> MiniLmEmbedder:
    return MiniLmEmbedder()


INVESTMENT = TopicDefinition(
    id="investment_advice",
    like=(
        "Which fund should I put my savings into?",
        "Should I sell my shares now?",
        "Tell me whether to invest in bonds or in stocks.",
        "What is the best investment for my retirement money?",
    ),
    unlike=("What is a fund?", "How do I open a securities account?", "Where do I see my portfolio?"),
)


@pytest.mark.parametrize(
    ("text", "is_topic"),
    [
        ("Would you buy tech stocks with 20,000 euros right now?", True),
        ("Hi Lark, thanks for the help yesterday. Is it smart to move my pension into an index fund?", True),
        ("How do I reset the PIN of my debit card?", False),
        ("Where do I find the portfolio page in the app?", False),
        ("What are your opening hours on Saturday?", False),
        ("Tell me a joke about a rabbit.", False),
    ],
)
def test_the_packaged_model_tells_advice_from_service(minilm: MiniLmEmbedder, text: str, is_topic: bool) -> None:
    (result,) = TopicDetector([INVESTMENT], minilm).scan([text])
    assert (result.values["topic.investment_advice"] >= 0.7) is is_topic


@pytest.mark.skipif(not CLINC.exists(), reason="the labelled set ../shared/data/topic is not here")
@pytest.mark.slow
def test_recall_and_false_positives_on_a_labelled_set(minilm: MiniLmEmbedder) -> None:
    def rows(part: str) -> list[dict[str, str]]:
        with gzip.open(CLINC / f"clinc150_{part}.jsonl.gz", "rt", encoding="utf-8") as lines:
            return [json.loads(line) for line in lines]

    rng = random.Random(3)
    train, held_out = rows("train"), rng.sample(rows("val"), 800)
    intents = rng.sample(sorted({row["intent"] for row in train} - {"oos"}), 40)
    examples = {intent: [row["text"] for row in train if row["intent"] == intent] for intent in intents}
    definitions = [TopicDefinition(id=intent, like=tuple(rng.sample(examples[intent], 5))) for intent in intents]
    scans = TopicDetector(definitions, minilm).scan([row["text"] for row in held_out])
    pairs = [
        (float(scan.values[f"topic.{intent}"]) >= 0.7, row["intent"] == intent)
        for row, scan in zip(held_out, scans, strict=True)
        for intent in intents
    ]
    recall = sum(hit for hit, is_topic in pairs if is_topic) / sum(is_topic for _, is_topic in pairs)
    false_positives = sum(hit for hit, is_topic in pairs if not is_topic) / sum(not is_topic for _, is_topic in pairs)
    assert recall > 0.85
    assert false_positives < 0.02
