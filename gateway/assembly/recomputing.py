"""Runs detectors of a candidate on texts that the audit log keeps encrypted: part of the composition root.

What can be recomputed: a query, from the request as it was taken in; a passage that the model was shown unchanged; an
answer of a single text. What cannot: passages that were left out or redacted, tool calls, answers of several choices,
and what detectors say of an answer by its grounds where the question that the model saw was redacted.
"""

import asyncio
import secrets
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager

import msgspec

from gateway.assembly.erasure import body_reader
from gateway.assembly.node import open_audit
from gateway.audit.body_read import BodyReader, BodyVerdict
from gateway.audit.wrapping import Wrappers
from gateway.detectors import build_detectors
from gateway.domain.errors import RequestError
from gateway.domain.grounds import Grounds
from gateway.domain.passage import Passage
from gateway.domain.ports import Detector, Embedder
from gateway.domain.segment import Segment
from gateway.domain.signal import Inspection
from gateway.domain.vocabulary import Effect, Phase, Provenance
from gateway.inspection import Inspector
from gateway.policy.bundle import Bundle
from gateway.policy.recorded import Judgement, Recording
from gateway.policy.replay import Recompute
from gateway.settings import Settings
from gateway.wire.body import decode_body
from gateway.wire.chat import read_prompt
from gateway.wire.embeddings import read_embedding_prompt

_EMBEDDINGS = "/v1/embeddings"


@contextmanager
def opened_recomputing(
    settings: Settings,
    wrappers: Wrappers,
    embedder: Callable[[], Embedder],
    bundle: Bundle,
    *,
    by: str,
    reason: str,
) -> Iterator[Recompute]:
    """Recomputing with the detectors of a bundle over the texts of the data folder of the settings. Loads models.
    Raises `ConfigurationError` and `AuditUnavailable`."""
    detectors = build_detectors(bundle, settings.inspection, embedder)
    audit = open_audit(settings)
    try:
        reader = body_reader(settings, wrappers, audit)
        with recomputing(reader, settings, detectors, by=by, reason=reason) as recompute:
            yield recompute
    finally:
        audit.close()


@contextmanager
def recomputing(
    reader: BodyReader, settings: Settings, detectors: Sequence[Detector], *, by: str, reason: str
) -> Iterator[Recompute]:
    """Yields what runs detectors on kept texts; each text is opened at most once an exchange, by `by` for `reason`,
    and that is recorded first. Blocks; not to be called where an event loop runs."""
    inspector = Inspector(
        detectors,
        threads=settings.inspection.threads,
        cache_bytes=settings.inspection.cache_bytes,
        cache_key=secrets.token_bytes(32),
        clock_us=lambda: time.monotonic_ns() // 1000,
    )
    with asyncio.Runner() as runner:

        def opened(event: str, field: str) -> str | None:
            try:
                found = runner.run(reader.read_body(event, field, by, reason))
            except RequestError:  # the event keeps no such text
                return None
            return found.text if found.verdict is BodyVerdict.OPENED else None

        kept = _Kept(opened, settings)

        def recompute(recording: Recording, judgement: Judgement, wanted: frozenset[str]) -> Inspection | None:
            found = kept.segments(recording, judgement)
            if found is None or not wanted <= frozenset(inspector.detectors):
                return None
            segments, grounds = found
            return runner.run(
                inspector.on(grounds).inspect(
                    segments, detectors=wanted, timeouts={}, default_timeout_s=settings.inspection.timeout_s
                )
            )

        try:
            yield recompute
        finally:
            inspector.close()


class _Kept:
    """The kept texts of one exchange at a time."""

    def __init__(self, opened: Callable[[str, str], str | None], settings: Settings) -> None:
        self._opened = opened
        self._server = settings.server
        self._exchange = ""
        self._texts: dict[tuple[str, str], str | None] = {}

    def segments(self, recording: Recording, judgement: Judgement) -> tuple[list[Segment], Grounds] | None:
        """What the judgement was about, and what an answer may be made of; `None` if it was not kept."""
        if recording.exchange != self._exchange:
            self._exchange, self._texts = recording.exchange, {}
        match judgement.phase:
            case Phase.QUERY:
                return self._query(recording, judgement)
            case Phase.PASSAGE:
                return self._passage(recording, judgement)
            case Phase.ANSWER:
                return self._answer(recording)
            case _:
                return None

    def _query(self, recording: Recording, judgement: Judgement) -> tuple[list[Segment], Grounds] | None:
        text = self._text(recording.intent, "request")
        if text is None or judgement.evidence is None:
            return None
        body = decode_body(text.encode(), max_depth=self._server.max_depth)
        most, longest = self._server.max_messages, self._server.max_text_chars
        try:
            if judgement.evidence.fields["request.route"] == _EMBEDDINGS:
                prompt = read_embedding_prompt(body, max_inputs=most, max_text_chars=longest)
            else:
                prompt = read_prompt(body, max_messages=most, max_text_chars=longest)
        except RequestError:  # it was within the limits of then
            return None
        return list(prompt.segments), Grounds()

    def _passage(self, recording: Recording, judgement: Judgement) -> tuple[list[Segment], Grounds] | None:
        if any(one.effect is Effect.REDACT for one in judgement.outcomes):
            return None
        shown = next((one for one in self._shown(recording) if one.id == judgement.passage), None)
        if shown is None:
            return None
        texts = (shown.title, shown.section, shown.text)
        return [_segment(text, Provenance.PASSAGE, index) for index, text in enumerate(texts)], Grounds()

    def _answer(self, recording: Recording) -> tuple[list[Segment], Grounds] | None:
        if sum(one.phase is Phase.ANSWER for one in recording.judgements) != 1:
            return None
        text = self._text(recording.end, "candidate")
        shown = self._shown(recording)
        question = self._text(recording.intent, "query") if shown else ""
        if text is None or question is None or (shown and recording.query_changed):
            return None
        return [_segment(text, Provenance.ASSISTANT)], Grounds(passages=shown, question=question)

    def _shown(self, recording: Recording) -> tuple[Passage, ...]:
        """The passages as the model was shown them; none if there were none, or they were not kept."""
        if not any(one.phase is Phase.PASSAGE for one in recording.judgements):
            return ()
        text = self._text(recording.end, "passages")
        return tuple(map(_passage, msgspec.json.decode(text, type=list[dict[str, str]]))) if text else ()

    def _text(self, event: str, field: str) -> str | None:
        if (event, field) not in self._texts:
            self._texts[event, field] = self._opened(event, field) if event else None
        return self._texts[event, field]


def _segment(text: str, provenance: Provenance, index: int = 0) -> Segment:
    return Segment(index=index, text=text, provenance=provenance)


def _passage(kept: dict[str, str]) -> Passage:
    doc, _, number = kept["id"].rpartition("#")
    return Passage(
        doc=doc,
        number=int(number),
        revision=kept["rev"],
        title=kept["title"],
        section=kept["section"],
        text=kept["text"],
        access=frozenset(),
    )
