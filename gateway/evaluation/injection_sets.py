"""Training and evaluation texts for the injection detector, from the labelled sets and from our own templates.

A row's `origin` keeps what must not be split: the windows of one text, the expansions of one template. Harmful
questions, and benign texts that talk about attacks, are labelled benign: what counts is whether a text tries to
steer the assistant. Rows that the sets label as attacks but that are plain requests (`unlabelled`) are judged, not
learnt from.
"""

import gzip
import importlib
import inspect
import random
import re
from collections.abc import Callable, Iterable, Iterator, Sequence
from importlib import resources
from pathlib import Path
from typing import Any, Final

import msgspec
from msgspec import Struct

from gateway.domain.text import outline
from rules.injection.synthetic import strew, templates, trigger_words
from rules.injection.windows import NARROW_WORDS, WIDE_STRIDE, WIDE_WORDS, sentences, windows

PLAIN_TASKS: Final = frozenset(
    {"Information Retrieval", "Content Creation", "Learning and Tutoring", "Language Translation", "Programming Help"}
)
"""Categories of BIPIA whose attack is a question off the topic: an attack by where it stands, not by what it says."""

_TEMPLATE_TAGS: Final = re.compile(r"\{%.*?%\}")
_LONGEST_ATTACK: Final = 3  # windows of one attack: the rest of a long role play reads like a story
_SHORT: Final = 300  # characters of texts that are strewn with words or joined
_SEED: Final = 1
_BENIGN_VARIANTS: Final = 8
_ATTACK_VARIANTS: Final = 30
_STREWN: Final = 6_000
_JOINED: Final = 1_500
_EMBEDDED: Final = 2_500
_APPENDED: Final = 1_500
_SENTENCES_OF_ONE: Final = 3  # window of a document
_DOCUMENTS: Final = (":contexts", ":abstracts", ":tasks")
_WITH_ATTACKS: Final = frozenset({"customer-forum-digest"})
_FRONT_MATTER: Final = re.compile(r"\A---\n.*?\n---\n", re.DOTALL)
_HEADING: Final = re.compile(r"^(?=#)", re.MULTILINE)
_SHORTEST_SECTION: Final = 40  # characters
_PLANTED: Final = ("synthetic", "bipia")  # sources whose attacks make sense inside a document

_MODULES: Final = (
    "argparse", "asyncio.subprocess", "base64", "configparser", "csv", "ftplib", "getpass", "glob", "http.client",
    "http.cookiejar", "http.server", "imaplib", "json.decoder", "logging", "os", "pathlib", "pickle", "platform",
    "poplib", "sched", "shutil", "smtplib", "socket", "socketserver", "sqlite3.dump", "ssl", "subprocess", "tarfile",
    "tempfile", "threading", "urllib.request", "uuid", "webbrowser", "xmlrpc.client", "zipfile",
)  # fmt: skip
_CODE_PARTS: Final = 14  # of one module
_CODE_QUESTIONS: Final = (
    "{}",
    "```python\n{}\n```",
    "What does this function do?\n```\n{}\n```",
    "Explain the following code:\n{}",
    "Why does this fail on Windows?\n\n{}",
    "Please add type hints to this code and return only the code.\n```python\n{}\n```",
    "Refactor the following code snippet so that it is easier to test:\n{}",
    "Write unit tests for it:\n\n{}",
)

Cut = Callable[[str], list[str]]


class Row(Struct, frozen=True):
    """A window of a text; `weight` 0 keeps it out of training. `made_of` are the sources of a composed text."""

    text: str
    attack: bool
    source: str
    origin: str
    weight: float = 1.0
    made_of: tuple[str, ...] = ()

    def __repr__(self) -> str:
        return f"Row({self.source}, {'attack' if self.attack else 'benign'}, {outline(self.text)})"


def wide(text: str) -> list[str]:
    return [text[w.start : w.end] for w in windows(text, words=WIDE_WORDS, stride=WIDE_STRIDE)]


def narrow(text: str) -> list[str]:
    return [text[w.start : w.end] for w in windows(text, words=NARROW_WORDS, stride=NARROW_WORDS)]


def rows(data: Path) -> list[Row]:
    """All rows, deterministic. `data` is the folder of labelled sets; raises `FileNotFoundError` for a missing one."""
    labelled = [*_attacks(data), *_benign(data), *_documents(data)]
    ours = list(_from_templates())
    handbook = list(_handbook())
    composed = _composed(labelled, ours)
    return [*labelled, *ours, *composed, *_code(), *_single_sentences([*labelled, *handbook]), *handbook]


def _attacks(data: Path) -> Iterator[Row]:
    slabs = [row["text"] for row in _read(data, "injection/s_labs_train") if row["label"] == 1]
    yield from _cut(slabs, "s_labs", attack=True, weight=0.7)  # its labels are the noisiest
    neuralchemy = [
        row
        for part in ("train", "validation")
        for row in _read(data, f"injection/neuralchemy_core_{part}")
        if row["label"] == 1 and row["category"] != "control"
    ]
    # hackaprompt rows are answers of players, many of them fragments; harmbench and wildguard rows are harmful
    # questions, which are no injections
    for origin, weight in (("neuralchemy_v1", 1.0), ("original", 1.0), ("hackaprompt", 0.4), ("harmbench", 0.0)):
        texts = [row["text"] for row in neuralchemy if row["source"] == origin]
        yield from _cut(texts, f"neuralchemy:{origin}", attack=True, weight=weight)
    jailbreaks = [row["text"] for row in _read(data, "injection/inthewild_jailbreaks")]
    yield from _cut(jailbreaks, "in_the_wild", attack=True, cut=_beginning)
    pyrit = [_TEMPLATE_TAGS.sub("", row["text"]) for row in _read(data, "injection/pyrit_jailbreak_templates")]
    yield from _cut(pyrit, "pyrit", attack=True, cut=_beginning)
    bipia = _read(data, "injection/bipia_attacks")
    yield from _cut(
        [row["text"] for row in bipia if row["category"] not in PLAIN_TASKS], "bipia", attack=True, weight=2
    )
    plain = [row["text"] for row in bipia if row["category"] in PLAIN_TASKS]
    yield from _cut(plain, "bipia:plain_tasks", attack=True, weight=0.0)


def _benign(data: Path) -> Iterator[Row]:
    yield from _cut([r["text"] for r in _read(data, "injection/s_labs_train") if r["label"] == 0], "s_labs")
    for part in ("train", "validation"):
        texts = [row["text"] for row in _read(data, f"injection/neuralchemy_core_{part}") if row["label"] == 0]
        yield from _cut(texts, "neuralchemy")
    yield from _cut(_texts(data, "injection/wildguard_benign_piguard"), "wildguard", weight=2)
    yield from _cut(_texts(data, "over_refusal/xstest"), "xstest", weight=2)
    yield from _cut(_texts(data, "risk/ailuminate_demo_en"), "ailuminate", weight=2)
    for language in ("en", "de", "es"):
        questions = [row["question"] for row in _read(data, f"retrieval/xquad_{language}")]
        yield from _cut(questions, f"xquad_{language}", weight=1)
    train = random.Random(_SEED).sample(_texts(data, "topic/clinc150_train"), 2_000)  # noqa: S311 - a reproducible sample
    yield from _cut(_texts(data, "topic/clinc150_val") + train, "clinc150", weight=0.5)
    yield from _cut(_texts(data, "retrieval/scifact_claims_train"), "scifact")
    yield from _cut(sorted({row["question"] for row in _read(data, "groundedness/halueval_qa")}), "halueval")
    yield from _cut(_texts(data, "pii/presidio_generated_large"), "presidio", weight=0.7)


def _documents(data: Path) -> Iterator[Row]:
    documents = [f"{row['title']}\n\n{row['text']}" for row in _read(data, "retrieval/rhobank_docs")]
    yield from _cut(documents, "rhobank", weight=1.5)
    yield from _cut(documents, "rhobank:narrow", weight=0.5, cut=narrow)
    scenarios = [row["scenario"] for row in _read(data, "retrieval/rhobank_tasks")]
    tasks = [scenario["instructions"] for scenario in scenarios if isinstance(scenario, dict)]
    yield from _cut(tasks, "rhobank:tasks", weight=2)
    for language in ("en", "de", "es"):
        contexts = sorted({row["context"] for row in _read(data, f"retrieval/xquad_{language}")})
        yield from _cut(contexts, f"xquad_{language}:contexts")
    abstracts = random.Random(_SEED).sample(_read(data, "retrieval/scifact_corpus"), 1_000)  # noqa: S311 - see above
    yield from _cut([_joined(row["sentences"]) for row in abstracts], "scifact:abstracts", cut=_first)
    contexts = sorted({row["context"] for row in _read(data, "groundedness/halueval_qa")})[:1_000]
    yield from _cut(contexts, "halueval:contexts")
    contexts = [_joined(row["context"]) for row in _read(data, "injection/bipia_contexts_test")]
    yield from _cut(contexts, "bipia:contexts")


def _from_templates() -> Iterator[Row]:
    for template in templates("benign"):
        weight, source = (2.5, "hard_en") if template.language == "en" else (3.0, "hard_other")
        for text in template.expand(_BENIGN_VARIANTS, 0):
            yield Row(text, attack=False, source=source, origin=f"benign {template.text}", weight=weight)
    for template in templates("attacks"):
        weight, source = (0.5, "synthetic_en") if template.language == "en" else (3.0, "synthetic_other")
        for text in template.expand(_ATTACK_VARIANTS, 0):
            yield Row(text, attack=True, source=source, origin=f"attack {template.text}", weight=weight)


def _composed(labelled: Sequence[Row], ours: Sequence[Row]) -> Iterator[Row]:
    """Benign texts with trigger words and several benign texts in one; attacks inside documents and after questions."""
    choice = random.Random(_SEED)  # noqa: S311 - reproducible training texts
    words = trigger_words()
    short = [row for row in labelled if not row.attack and len(row.text) < _SHORT]
    for number, row in enumerate(choice.sample(short, min(_STREWN, len(short)))):
        text = strew(row.text, words, 1 + number % 3, number)
        yield Row(text, attack=False, source="strewn", origin=row.origin, made_of=(row.source,))
    for number in range(_JOINED):
        parts = [choice.choice(short) for _ in range(choice.randrange(2, 4))]
        text = "\n".join(part.text for part in parts)
        made_of = tuple(part.source for part in parts)
        yield Row(text, attack=False, source="joined", origin=f"joined {number}", made_of=made_of)
    documents = [row for row in labelled if not row.attack and row.source.endswith((":contexts", ":narrow"))]
    planted = [row for row in [*ours, *labelled] if row.attack and row.source.startswith(_PLANTED) and row.weight]
    for _ in range(_EMBEDDED):
        attack, context = choice.choice(planted), choice.choice(documents)
        document = context.text.split()
        length = choice.randrange(5, NARROW_WORDS - 5)
        first = choice.randrange(max(1, len(document) - length))
        part = document[first : first + length]
        at = choice.randrange(len(part) + 1)
        text = f"{' '.join(part[:at])}\n{attack.text}\n{' '.join(part[at:])}"
        made_of = (attack.source, context.source)
        yield Row(text, attack=True, source="embedded", origin=attack.origin, weight=0.7, made_of=made_of)
    direct = [row for row in labelled if row.attack and row.source in {"s_labs", "neuralchemy:neuralchemy_v1"}]
    for _ in range(_APPENDED):
        attack, question = choice.choice(direct), choice.choice(short)
        text = f"{question.text} {attack.text}"
        made_of = (attack.source, question.source)
        yield Row(text, attack=True, source="appended", origin=attack.origin, weight=0.4, made_of=made_of)


def _handbook() -> Iterator[Row]:
    """Pages and sections of the demo corpus, a bank's and so imperative, but for the page that plants an attack."""
    corpus = Path(str(resources.files("gateway"))) / "demo" / "corpus"
    pages = [path for path in sorted(corpus.rglob("*.md")) if path.stem not in _WITH_ATTACKS]
    bodies = [_FRONT_MATTER.sub("", path.read_text("utf-8")) for path in pages]
    yield from _cut(bodies, "handbook", weight=1.5)
    sections = [part for body in bodies for part in _HEADING.split(body) if len(part) > _SHORTEST_SECTION]
    yield from _cut(sections, "handbook:contexts", weight=1.5)


def _single_sentences(labelled: Sequence[Row]) -> Iterator[Row]:
    """Sentences of benign documents and role plays, which the detector judges one by one too."""
    choice = random.Random(_SEED)  # noqa: S311 - reproducible training texts
    for row in labelled:
        if (
            row.attack
            or not (row.source in {"rhobank", "handbook", "wildguard"} or row.source.endswith(_DOCUMENTS))
            or row.source == "handbook:contexts"
        ):
            continue
        found = [row.text[part.start : part.end] for part in sentences(row.text)]
        for text in choice.sample(found, min(_SENTENCES_OF_ONE, len(found))):
            yield Row(text, attack=False, source=f"{row.source}:sentences", origin=row.origin, weight=0.5)


def _code() -> Iterator[Row]:
    """Harmless code with the calls of harmful code, from this Python's own library: the sets show code as attacks."""
    choice = random.Random(_SEED)  # noqa: S311 - reproducible training texts
    for name in _MODULES:
        source = inspect.getsource(importlib.import_module(name)).split("\n\n\n")
        for number, part in enumerate(choice.sample(source, min(_CODE_PARTS, len(source)))):
            text = "\n".join(part.splitlines()[: choice.randrange(8, 40)]).strip()
            if text:
                ask = choice.choice(_CODE_QUESTIONS).format(text)
                yield Row(ask, attack=False, source="code", origin=f"code {name} {number}", weight=1.5)


def _cut(
    texts: Iterable[str], source: str, *, attack: bool = False, weight: float = 1.0, cut: Cut = wide
) -> Iterator[Row]:
    for number, text in enumerate(texts):
        for part in cut(text):
            yield Row(part, attack, source, f"{source} {attack} {number}", weight)


def _beginning(text: str) -> list[str]:
    return wide(text)[:_LONGEST_ATTACK]


def _first(text: str) -> list[str]:
    return wide(text)[:1]


def _texts(data: Path, name: str) -> list[str]:
    return [row["text"] for row in _read(data, name)]


def _joined(value: Any) -> str:
    return value if isinstance(value, str) else "\n".join(map(str, value))


def _read(data: Path, name: str) -> list[dict[str, Any]]:
    with gzip.open(data / f"{name}.jsonl.gz", "rb") as lines:
        return [msgspec.json.decode(line) for line in lines]
