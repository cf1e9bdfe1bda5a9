"""What is sent, what the model says, and what the gateway enforces, for every profile of the benchmark.

Each question and each sentence of an answer holds a word that never comes twice, so that no result of an inspection
comes from the cache unless a measurement asks for it.
"""

import json
from pathlib import Path
from typing import Any, Final

import yaml

FAST: Final = "fast"
"""Model name: the mock answers at once."""

PACED: Final = "paced"
"""Model name: the mock sends a chunk every `PACE_S`."""

PACE_S: Final = 0.004
CREATED: Final = 1_700_000_000
UNIQUE: Final = "qqqqqqqq"
"""Stands for a word of eight letters that is new each time."""

SYSTEM: Final = (
    "You are the assistant of a savings bank. Answer in plain words, name the document you rely on, and say so when "
    "you do not know. Never promise a rate, a date or an outcome that the documents do not promise themselves."
)
QUESTION: Final = (
    f"I opened a savings account last spring and the leaflet {UNIQUE} says that the interest is paid once a year, but "
    "my statement shows two payments. Could you explain when interest is worked out, which balance it is worked out "
    "on, and what happens to it when I close the account before the year is over and move the money elsewhere?"
)
PERSONAL: Final = " You can reach me at jo.doe@example.org or pay back to card 4111 1111 1111 1111."
ANSWER: Final = (
    f"Interest is worked out every day on the balance at close of business, as leaflet {UNIQUE} explains. "
    f"It is added up over the quarter and paid on the last working day, under the heading {UNIQUE} of the statement. "
    f"When an account is closed early, branch {UNIQUE} pays what has been earned so far on the day of closing. "
    f"Nothing is lost, and rule {UNIQUE} asks for no fee."
)


def unique_word(number: int) -> str:
    """Eight letters; no digits, in which patterns would look for more."""
    letters = []
    for _ in range(len(UNIQUE)):
        number, digit = divmod(number, 20)
        letters.append("bcdfghjklmnpqrstvwxz"[digit])
    return "".join(letters)


def request_body(*, model: str = FAST, stream: bool = False, personal: bool = False) -> bytes:
    """A chat request with `UNIQUE` in its question."""
    messages = [
        {"role": "system", "content": SYSTEM},
        {"role": "user", "content": QUESTION + (PERSONAL if personal else "")},
    ]
    body: dict[str, Any] = {"model": model, "messages": messages, "temperature": 0.2}
    return json.dumps(body | ({"stream": True} if stream else {})).encode()


def completion() -> bytes:
    """The mock's whole answer, with `UNIQUE` in each sentence."""
    body = {
        "id": "chatcmpl-mock",
        "object": "chat.completion",
        "created": CREATED,
        "model": "mock",
        "choices": [
            {"index": 0, "message": {"role": "assistant", "content": ANSWER, "refusal": None}, "finish_reason": "stop"}
        ],
        "usage": {"prompt_tokens": 130, "completion_tokens": 80, "total_tokens": 210},
    }
    return json.dumps(body).encode()


def words() -> list[str]:
    """The answer as models cut it: white space leads a word."""
    first, *others = ANSWER.split(" ")
    return [first, *(f" {word}" for word in others)]


def chunks() -> list[bytes]:
    """The same as server-sent events, a word a chunk. `created` numbers them from `CREATED`, so that whatever leaves
    a proxy says which chunk let it go; the chunk numbered 0 brings the role."""
    head = {"id": "chatcmpl-mock", "object": "chat.completion.chunk", "model": "mock"}
    deltas: list[dict[str, str]] = [{"role": "assistant", "content": ""}, *({"content": word} for word in words())]
    choices: list[dict[str, Any]] = [{"index": 0, "delta": delta, "finish_reason": None} for delta in deltas]
    choices.append({"index": 0, "delta": {}, "finish_reason": "stop"})
    bodies = [{**head, "created": CREATED + number, "choices": [one]} for number, one in enumerate(choices)]
    return [*(b"data: " + json.dumps(body).encode() + b"\n\n" for body in bodies), b"data: [DONE]\n\n"]


def pattern_rules(count: int) -> dict[str, Any]:
    """`count` patterns of the kinds that policies hold, and a rule for each: code names, internal references, phrases
    with one or two open places."""
    patterns: dict[str, dict[str, str]] = {}
    rules = []
    for number in range(count):
        word = unique_word(number * 7_919)[:6]
        regex, example = (
            (rf"(?i)\bproject[ -]{word}\b", f"Project {word}"),
            (rf"\b{word[:3].upper()}-\d{{4}}-[A-Z]{{2}}\b", f"{word[:3].upper()}-1234-AB"),
            (rf"(?i)\b(?:wire|send|move) [a-z]{{1,12}} to {word}\b", f"wire money to {word}"),
            (rf"(?i)\b{word} (?:merger|acquisition|layoffs?)\b", f"{word} merger"),
        )[number % 4]
        name = f"p{number:04d}"
        patterns[name] = {"regex": regex, "example": example}
        rules.append(
            {
                "id": f"PAT-{number:04d}",
                "title": f"Pattern {number}",
                "severity": "high",
                "phase": ["query", "answer"],
                "when": {"all": [{"signal": f"pattern.{name}", "is": True}]},
                "then": {"effect": "refuse" if number % 2 else "flag"},
            }
        )
    return {**_set("bench/patterns"), "patterns": patterns, "rules": rules}


def personal_rules(detector: str) -> dict[str, Any]:
    """Personal data in and out, seen by `pii_patterns` (patterns with checks) or `pii` (names by models as well)."""
    kinds = ["CREDIT_CARD", "EMAIL_ADDRESS", "IBAN_CODE", "PHONE_NUMBER", "IP_ADDRESS", "US_SSN"]
    named = [*kinds, "PERSON"] if detector == "pii" else list(kinds)
    query = {
        "id": "PII-001",
        "title": "Personal data goes to the model under a pseudonym",
        "severity": "high",
        "phase": "query",
        "when": {"all": [{"signal": f"{detector}.entities", "any_of": named}]},
        "then": {"effect": "redact", "with": "pseudonym"},
    }
    answer = {
        "id": "PII-002",
        "title": "Numbers are masked in answers",
        "severity": "high",
        "phase": ["answer", "tool_call"],
        "when": {"all": [{"signal": "pii_patterns.entities", "any_of": kinds}]},
        "then": {"effect": "redact", "with": "mask"},
    }
    needs = {name: {"detector": name, "required": True} for name in sorted({detector, "pii_patterns"})}
    return {**_set("bench/personal"), "needs": needs, "rules": [query, answer]}


def write_profile(folder: Path, *, model_url: str, rules: int, detector: str, cache: bool = True) -> Path:
    """A settings file of the gateway in `folder`, with its policies; the path of the settings file."""
    policies = folder / "policies"
    policies.mkdir(parents=True)
    for name, policy in (("patterns", pattern_rules(rules)), ("personal", personal_rules(detector))):
        (policies / f"{name}.yaml").write_text(yaml.safe_dump(policy, sort_keys=False), encoding="utf-8")
    settings: dict[str, Any] = {
        "data_dir": str(folder / "data"),
        "policies": [str(policies)],
        "models": [{"name": name, "provider": "openai", "base_url": model_url, "retries": 0} for name in (FAST, PACED)],
        "retrieval": {"store": "off"},
        "limits": {"requests_per_minute": 60_000_000, "burst": 1_000_000, "concurrent": 10_000},
    }
    if not cache:
        settings["inspection"] = {"cache_bytes": 0}
    path = folder / "gateway.yaml"
    path.write_text(yaml.safe_dump(settings), encoding="utf-8")
    return path


def _set(name: str) -> dict[str, Any]:
    metadata = {"id": name, "version": "1", "owner": "team:bench", "purpose": "Benchmark", "review_by": "2030-01-01"}
    return {"apiVersion": "gateway/v1", "kind": "PolicySet", "metadata": metadata}
