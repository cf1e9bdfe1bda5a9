"""Runs the conversations of a bundle through the installed detectors: part of the composition root."""

import asyncio
import secrets
import time
from collections.abc import Mapping, Sequence
from datetime import UTC, datetime

from gateway.detectors import build_detectors
from gateway.domain.grounds import Grounds
from gateway.domain.ports import Detector
from gateway.domain.segment import Segment
from gateway.domain.verdict import Evidence, FieldValue, Verdict
from gateway.domain.vocabulary import Phase, Provenance
from gateway.inspection.inspector import Inspector
from gateway.policy.bundle import Bundle
from gateway.policy.conversations import ConversationResult, run_conversations
from gateway.policy.fields import FIELDS, FieldType
from gateway.retrieval.embedding import CachingEmbedder, MiniLmEmbedder
from gateway.settings import InspectionSettings

_ORIGIN = {Phase.QUERY: Provenance.USER, Phase.PASSAGE: Provenance.PASSAGE, Phase.ANSWER: Provenance.ASSISTANT}
_EMPTY: Mapping[FieldType, FieldValue] = {
    FieldType.TEXT: "",
    FieldType.KINDS: frozenset(),
    FieldType.COUNT: 0,
    FieldType.FLAG: False,
}


def converse(
    bundle: Bundle, settings: InspectionSettings, detectors: Sequence[Detector] | None = None
) -> tuple[ConversationResult, ...]:
    """Every conversation of the bundle, judged by the detectors that serving uses: those given, else fresh ones, which
    loads models. Blocks; not to be called where an event loop runs."""
    if detectors is None:
        detectors = build_detectors(bundle, settings, lambda: CachingEmbedder(MiniLmEmbedder()))
    inspector = Inspector(
        detectors,
        threads=settings.threads,
        cache_bytes=settings.cache_bytes,
        cache_key=secrets.token_bytes(32),
        clock_us=lambda: time.monotonic_ns() // 1000,
    )
    now = datetime.now(UTC)
    with asyncio.Runner() as runner:

        def judge(
            bundle: Bundle, phase: Phase, text: str, fields: Mapping[str, FieldValue], grounds: Grounds
        ) -> Verdict:
            known: dict[str, FieldValue] = {
                name: _EMPTY[field.type] for name, field in FIELDS.items() if phase in field.phases
            }
            known |= {"retrieval.status": "ok", **fields}
            if "retrieval.passages" in known:
                known = {**known, "retrieval.passages": len(grounds.passages), **fields}
            inspection = runner.run(
                inspector.on(grounds).inspect(
                    [Segment(index=0, text=text, provenance=_ORIGIN[phase])],
                    detectors=bundle.required(phase, known),
                    timeouts={},
                    default_timeout_s=settings.timeout_s,
                )
            )
            return bundle.decide(
                Evidence(phase=phase, fields=known, values=inspection.values, runs=inspection.runs), now=now
            )

        try:
            return run_conversations(bundle, judge)
        finally:
            inspector.close()
