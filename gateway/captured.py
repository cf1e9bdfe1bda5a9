"""How much of an exchange its audit events keep: the capture level of its app, applied to what was recorded."""

from collections.abc import Callable, Iterable, Mapping
from typing import Any, Final, assert_never

import msgspec
from msgspec import structs

from gateway.domain.event import BodyText, Commitment, EventDraft
from gateway.domain.passage import Passage
from gateway.enforce.answer import AnswerRelease
from gateway.exchange import Exchange
from gateway.settings import CaptureLevel
from gateway.wire.body import encode_body

_SEEN: Final = frozenset({"signals"})
"""Members that hold what the detectors saw; what ran and what did not stays in `coverage`."""


def captured(draft: EventDraft, exchange: Exchange, texts: Callable[[Exchange], Iterable[BodyText]]) -> EventDraft:
    """The draft as the app's level keeps it; `texts` gives those to be encrypted, and is asked only for them."""
    level = exchange.app.capture
    match level:
        case CaptureLevel.METADATA:
            return structs.replace(draft, body=_without_content(draft.body))
        case CaptureLevel.SIGNALS:
            return draft
        case CaptureLevel.ENCRYPTED_BODY:
            return structs.replace(draft, bodies=tuple(text for text in texts(exchange) if text.text))
        case _:
            assert_never(level)


def asked_texts(exchange: Exchange) -> tuple[BodyText, ...]:
    """What the caller sent: the last question, and the whole request as JSON."""
    prompt = exchange.call.prompt
    return (
        BodyText(field="query", text=prompt.question),
        BodyText(field="request", text=encode_body(prompt.body).decode()),
    )


def answered_texts(exchange: Exchange, answer: AnswerRelease | None, released: str) -> tuple[BodyText, ...]:
    """What the model was shown and said, and what left."""
    passages = [_passage(passage) for passage in exchange.shown]
    return (
        BodyText(field="passages", text=msgspec.json.encode(passages).decode() if passages else ""),
        BodyText(field="candidate", text=answer.candidate_content if answer else ""),
        BodyText(field="answer", text=released),
    )


def _passage(passage: Passage) -> dict[str, str]:
    return {
        "id": passage.id,
        "rev": passage.revision,
        "title": passage.title,
        "section": passage.section,
        "text": passage.text,
    }


def _without_content(value: Any) -> Any:
    """A body without commitments and without what the detectors saw."""
    if isinstance(value, Mapping):
        return {
            name: _without_content(item)
            for name, item in value.items()
            if name not in _SEEN and not isinstance(item, Commitment)
        }
    if isinstance(value, list):
        return [_without_content(item) for item in value]
    return value
