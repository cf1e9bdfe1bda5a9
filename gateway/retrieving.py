"""Steps 7 and 8: the passages that the caller may see, each judged before anything is made of it."""

import asyncio
from typing import Final

from msgspec import structs

from gateway.domain.passage import Passage, RetrievalStatus
from gateway.domain.ports import Retriever
from gateway.domain.segment import Segment
from gateway.domain.signal import by_segment
from gateway.domain.verdict import FieldValue
from gateway.domain.vocabulary import Effect, Phase, Provenance
from gateway.exchange import Exchange, JudgedPassage
from gateway.judging import Judging
from gateway.settings import RetrievalSettings
from gateway.sources import released

UNREACHABLE: Final = (RetrievalStatus.ERROR, RetrievalStatus.TIMEOUT)
_NO_SOURCES: Final = "The sources needed to answer this cannot be reached right now. Please try again later."


async def retrieve(exchange: Exchange, retriever: Retriever, judging: Judging, settings: RetrievalSettings) -> None:
    """Give the exchange its passages, where its app and model get any. A search that fails stops the exchange if the
    settings say so."""
    if not _wants_passages(exchange, settings):
        return
    await search(exchange, retriever)  # 7 retrieve
    if exchange.retrieval.status is not RetrievalStatus.OK and settings.on_failure == "refuse":
        exchange.stop(Effect.REFUSE, f"gateway.retrieval_{exchange.retrieval.status.value}", message=_NO_SOURCES)
        return
    exchange.passages = list(  # 8 inspect and decide on each passage
        await asyncio.gather(*(judge_passage(exchange, passage, judging) for passage in exchange.retrieval.passages))
    )


async def search(exchange: Exchange, retriever: Retriever) -> None:
    """Note on the exchange what its principal finds for its question.

    INVARIANT I7: the search gets the verified principal and nothing of the body but the judged question.
    """
    query = exchange.redactor.pseudonyms.without_tokens(exchange.question)
    exchange.retrieval = await retriever.retrieve(exchange.principal, query)


async def judge_passage(exchange: Exchange, passage: Passage, judging: Judging) -> JudgedPassage:
    """The passage as the model may see it, or that it may not."""
    # Title and section reach the model and the client with the text, so they are judged with it.
    segments = [
        Segment(index=index, text=text, provenance=Provenance.PASSAGE)
        for index, text in enumerate((passage.title, passage.section, passage.text))
    ]
    about: dict[str, FieldValue] = {
        "passage.doc": passage.doc,
        "passage.access": passage.access,
        "passage.classification": passage.classification,
    }
    inspection, verdict = await judging.judge(exchange, Phase.PASSAGE, segments, about)
    verdict = released(verdict, passage.released)
    if verdict.effect.stops:
        # Nobody can be asked about one passage of many: what a human would have to see is left out.
        return JudgedPassage(passage=passage, verdict=verdict, kept=False, inspection=inspection)
    found = by_segment(inspection.findings)
    title, section, text = (
        exchange.redactor.redact(
            segment,
            found.get(segment.index, ()),
            verdict.obligations.redactions,
            brought=False,
        ).text
        for segment in segments
    )
    kept = structs.replace(passage, title=title, section=section, text=text)
    return JudgedPassage(passage=kept, verdict=verdict, kept=True, inspection=inspection)


def _wants_passages(exchange: Exchange, settings: RetrievalSettings) -> bool:
    call = exchange.call
    if settings.store == "off" or not exchange.app.retrieval or not exchange.question.strip():
        return False
    if call.skip_retrieval and exchange.app.own_context_may_skip_retrieval:
        return False
    return "*" in settings.models or call.prompt.model in settings.models
