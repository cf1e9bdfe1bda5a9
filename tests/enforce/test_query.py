"""The request's body after redaction, and the redactions that no edit can carry out."""

from msgspec import structs

from gateway.domain.segment import Segment
from gateway.domain.signal import Finding
from gateway.domain.verdict import Redaction
from gateway.domain.vocabulary import Provenance, RedactOperator
from gateway.enforce.pseudonyms import PseudonymMap
from gateway.enforce.query import RedactedPrompt, redact_prompt
from gateway.enforce.redaction import Redactor
from gateway.wire.chat import Prompt, read_prompt

MASK = (Redaction(rule="R1", kinds=frozenset({"PERSON"}), operator=RedactOperator.MASK),)


def prompt(*texts: str) -> Prompt:
    messages = [{"role": "user", "content": text} for text in texts]
    return read_prompt({"model": "m", "messages": messages}, max_messages=10, max_text_chars=1000)


def person(segment: int, kind: str = "PERSON") -> Finding:
    return Finding(start=0, end=3, kind=kind, detector="test", segment=segment)


def redact(asked: Prompt, *findings: Finding) -> RedactedPrompt:
    return redact_prompt(asked, findings, MASK, Redactor(PseudonymMap([]), b"k" * 32))


def test_each_text_is_edited_in_place_and_the_last_is_the_question() -> None:
    asked = prompt("Zoe was here", "all is well", "Max too")
    done = redact(asked, person(0), person(2))
    assert [message["content"] for message in done.body["messages"]] == [
        "[PERSON] was here",
        "all is well",
        "[PERSON] too",
    ]
    assert (done.question, done.kinds, done.possible) == ("[PERSON] too", {"PERSON": 2}, True)
    assert asked.body["messages"][0]["content"] == "Zoe was here"


def test_what_no_redaction_names_stays() -> None:
    asked = prompt("Zoe was here")
    done = redact(asked, person(0, kind="CITY"))
    assert (done.body, done.question, done.kinds, done.possible) == (asked.body, "Zoe was here", {}, True)


def test_a_text_without_a_place_in_the_body_cannot_be_redacted() -> None:
    asked = prompt("Zoe was here")
    loose = Segment(index=1, text="Max too", provenance=Provenance.USER)
    done = redact(structs.replace(asked, segments=(*asked.segments, loose)), person(0), person(1))
    assert not done.possible
    assert (done.question, done.kinds) == ("", {"PERSON": 1})


def test_its_representation_shows_no_content() -> None:
    assert "here" not in repr(redact(prompt("Zoe was here"), person(0)))
