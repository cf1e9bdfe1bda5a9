"""`gateway eval`: how good search and the built-in model are on questions with known answers."""

import asyncio
import json
import tempfile
from collections.abc import Iterable, Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any, Final

import click
import msgspec
from rich.console import Console
from rich.table import Table

from gateway.commands import evaluate_grounding
from gateway.commands.timeline import printable
from gateway.demo.setup import CORPUS, QUESTIONS, TENANT
from gateway.domain.errors import ConfigurationError
from gateway.domain.model import ModelRequest
from gateway.domain.passage import Passage, RetrievalStatus
from gateway.domain.ports import Embedder, Retriever
from gateway.domain.principal import Principal
from gateway.evaluation import retrieval
from gateway.evaluation.answers import (
    AnswerReport,
    GivenAnswer,
    Question,
    QuestionFile,
    Scored,
    explained,
    report,
    score,
)
from gateway.evaluation.retrieval import LabelledDocument, RetrievalScores, RetrievalSet, rhobank, scifact
from gateway.retrieval.embedded import EmbeddedStore
from gateway.retrieval.embedding import CachingEmbedder
from gateway.retrieval.ingest import Ingest
from gateway.retrieval.retriever import PassageRetriever
from gateway.retrieval.store import PassageStore
from gateway.settings import Settings
from gateway.settings.folder import INDEX_DIR
from gateway.strict_yaml import load
from gateway.upstream.extractive import ExtractiveUpstream
from gateway.upstream.router import Model

_TIMEOUT_S: Final = 60.0  # a laptop under load should fail no question
_MODEL: Final = "extractive"
_LABELLED_TENANT: Final = "labelled"
_EXPECTED: Final = ""  # stands for every expected document of a question; no document has this id

_questions = click.option(
    "--questions", type=click.Path(path_type=Path, dir_okay=False), help="Question file; that of the sample if none."
)
_data_dir = click.option(
    "--data-dir",
    type=click.Path(path_type=Path, file_okay=False),
    help="Folder with an index. If none: that of the settings for --questions, else the sample corpus, indexed anew.",
)
_tenant = click.option("--tenant", default="", help="Whose documents; needed with --questions.")
_format = click.option("--format", "form", type=click.Choice(["table", "json"]), default="table", show_default=True)


@click.group("eval")
def evaluate() -> None:
    """Measure search and answers on questions with known facts."""


@evaluate.command("answers")
@_questions
@_data_dir
@_tenant
@_format
@click.option(
    "--min-correct", type=click.FloatRange(0, 1), default=0.0, show_default=True, help="Share of right answers asked."
)
@click.pass_context
def answers(
    context: click.Context,
    *,
    questions: Path | None,
    data_dir: Path | None,
    tenant: str,
    form: str,
    min_correct: float,
) -> None:
    """Ask the built-in model every question, as an asker with the question's groups.

    Search and model run in this process, without policies. Exit codes: 0 good enough, 1 fewer right answers than
    --min-correct or anything leaked, 2 a file has faults.
    """
    asked = read_questions(questions)
    with _searching(context.obj, questions=questions, data_dir=data_dir, tenant=tenant) as (whose, retriever, embedder):
        given = asyncio.run(ask(asked, retriever, ExtractiveUpstream(_MODEL, embedder), tenant=whose))
    found = report([score(question, answer) for question, answer in zip(asked, given, strict=True)])
    if form == "json":
        click.echo(json.dumps(_plain(found), indent=2))
    else:
        _print_answers(found, {question.id: question.ask for question in asked})
    if found.leaks or found.right.value < min_correct:
        context.exit(1)


@evaluate.command("retrieval")
@_questions
@_data_dir
@_tenant
@_format
@click.option(
    "--labelled",
    type=click.Path(path_type=Path, file_okay=False, exists=True),
    help="Folder of labelled sets; SciFact and Rho-Bank in it are indexed and measured too, which takes minutes.",
)
@click.option("-k", "depth", type=click.IntRange(1, 100), default=5, show_default=True, help="Ranks that count.")
@click.pass_context
def measure_retrieval(
    context: click.Context,
    *,
    questions: Path | None,
    data_dir: Path | None,
    tenant: str,
    form: str,
    labelled: Path | None,
    depth: int,
) -> None:
    """Measure nDCG, recall and reciprocal rank of the documents that hold the answer."""
    asked = [question for question in read_questions(questions) if question.fact]
    with _searching(context.obj, questions=questions, data_dir=data_dir, tenant=tenant, top_k=depth) as found:
        whose, retriever, _ = found
        rows = [asyncio.run(measure_questions(asked, retriever, tenant=whose, depth=depth))]
    sets = [labelled_set for read in (scifact, rhobank) if labelled and (labelled_set := read(labelled))]
    rows += [_measure_labelled(labelled_set, context.obj["embedder"](), depth) for labelled_set in sets]
    if form == "json":
        click.echo(json.dumps([msgspec.to_builtins(row) for row in rows], indent=2))
        return
    table = Table("set", "questions", f"nDCG@{depth}", f"recall@{depth}", "MRR", box=None)
    for row in rows:
        table.add_row(row.name, str(row.queries), f"{row.ndcg:.3f}", f"{row.recall:.3f}", f"{row.mrr:.3f}")
    Console().print(table)


@evaluate.command("groundedness")
@_questions
@_data_dir
@_tenant
@_format
@evaluate_grounding.options
@click.pass_context
def groundedness(
    context: click.Context,
    *,
    questions: Path | None,
    data_dir: Path | None,
    tenant: str,
    form: str,
    labelled: Path | None,
    max_alarms: float,
) -> None:
    """Measure how well answers that passages do not support are found.

    Without --labelled the built-in model is asked every question: it quotes, so each of its answers that is called
    unsupported is a false alarm. Exit codes: 0 good enough, 1 more than --max-alarms of them, 2 a file has faults.
    """
    if labelled is not None:
        evaluate_grounding.show(None, evaluate_grounding.labelled_answers(labelled), form=form)
        return
    asked = read_questions(questions)
    with _searching(context.obj, questions=questions, data_dir=data_dir, tenant=tenant) as (whose, retriever, embedder):
        given = asyncio.run(ask(asked, retriever, ExtractiveUpstream(_MODEL, embedder), tenant=whose))
    own = evaluate_grounding.own_answers(asked, given)
    evaluate_grounding.show(own, [], form=form)
    if own.flagged.value > max_alarms:
        context.exit(1)


def read_questions(file: Path | None) -> tuple[Question, ...]:
    """The questions of a file, those of the sample if none. Raises `FaultsFound`, `ConfigurationError`."""
    chosen = file or QUESTIONS
    try:
        text = chosen.read_text("utf-8")
    except (OSError, UnicodeDecodeError):
        raise ConfigurationError("the question file cannot be read: give a YAML file in UTF-8") from None
    return load(text, chosen.name, QuestionFile).questions


async def ask(questions: Iterable[Question], retriever: Retriever, model: Model, *, tenant: str) -> list[GivenAnswer]:
    """The model's answers, each with the passages that its asker may see. Raises `click.ClickException` if a search
    fails: what cannot be searched says nothing about answers."""
    given = []
    for question in questions:
        passages = await _search(retriever, tenant, question.groups, question.ask)
        body = {"model": _MODEL, "messages": [{"role": "user", "content": question.ask}]}
        reply = await model.complete(
            ModelRequest(model=_MODEL, body=body, passages=passages, question=question.ask, exchange=question.id)
        )
        given.append(GivenAnswer(text=reply.body["choices"][0]["message"]["content"], passages=passages))
    return given


async def measure_questions(
    questions: Sequence[Question], retriever: Retriever, *, tenant: str, depth: int
) -> RetrievalScores:
    """How well an expected document of each question is found by its asker; which of them does not matter."""
    rankings = []
    for question in questions:
        passages = await _search(retriever, tenant, question.groups, question.ask)
        rankings.append([_EXPECTED if passage.doc in question.documents else passage.doc for passage in passages])
    count = max(len(rankings), 1)
    return RetrievalScores(
        name="questions",
        queries=len(rankings),
        ndcg=sum(retrieval.ndcg(ranking, {_EXPECTED}, depth) for ranking in rankings) / count,
        recall=sum(retrieval.recall(ranking, {_EXPECTED}, depth) for ranking in rankings) / count,
        mrr=sum(retrieval.reciprocal_rank(ranking, {_EXPECTED}, depth) for ranking in rankings) / count,
    )


async def _search(retriever: Retriever, tenant: str, groups: Sequence[str], text: str) -> tuple[Passage, ...]:
    principal = Principal(tenant=tenant, app="eval", user="eval", groups=frozenset(groups), auth="key", ref="eval")
    found = await retriever.retrieve(principal, text)
    if found.status is not RetrievalStatus.OK:
        raise click.ClickException(f"the search failed with `{found.reason}`: check the index and `--data-dir`")
    return found.passages


@contextmanager
def _searching(
    composition: dict[str, Any],
    *,
    questions: Path | None,
    data_dir: Path | None,
    tenant: str,
    top_k: int = 0,
) -> Iterator[tuple[str, PassageRetriever, Embedder]]:
    """Tenant, retriever and embedder for the questions; the sample corpus is indexed in a folder that goes away."""
    if questions is not None and not tenant:
        raise click.UsageError("`--questions` needs `--tenant`: whose documents are searched")
    settings: Settings = composition["settings"]
    embedder = CachingEmbedder(composition["embedder"]())
    with tempfile.TemporaryDirectory(prefix="gateway-eval-") as folder:
        store: PassageStore
        if data_dir is not None:
            store = _embedded(data_dir / INDEX_DIR, embedder)
        elif questions is not None:
            store = composition["passage_store"]()
        else:
            store = _embedded(Path(folder), embedder)
            asyncio.run(_index(store, embedder, CORPUS, tenant=TENANT))
        try:
            yield tenant or TENANT, _retriever(store, embedder, settings, top_k), embedder
        finally:
            asyncio.run(store.close())


async def _index(store: PassageStore, embedder: Embedder, folder: Path, *, tenant: str) -> None:
    (await Ingest(store, embedder).run([folder], tenant=tenant)).sound()


def _embedded(folder: Path, embedder: Embedder) -> EmbeddedStore:
    return EmbeddedStore(folder, embedder=f"{embedder.name}@{embedder.version}")


def _retriever(store: PassageStore, embedder: Embedder, settings: Settings, top_k: int) -> PassageRetriever:
    return PassageRetriever(
        store,
        embedder,
        top_k=top_k or settings.retrieval.top_k,
        max_context_chars=settings.retrieval.max_context_chars,
        timeout_s=_TIMEOUT_S,
    )


def _measure_labelled(labelled: RetrievalSet, embedder: Embedder, depth: int) -> RetrievalScores:
    """Index the set in a folder that goes away, everything public, and run its queries."""
    cached = CachingEmbedder(embedder)
    with tempfile.TemporaryDirectory(prefix="gateway-eval-") as folder:
        ids = _write_documents(labelled.documents, Path(folder) / "documents")
        store = _embedded(Path(folder) / INDEX_DIR, cached)
        retriever = PassageRetriever(
            store, cached, top_k=depth * 2, max_context_chars=1_000_000, timeout_s=_TIMEOUT_S
        )  # twice the ranks: several passages may be of one document

        async def search(text: str) -> Sequence[str]:
            return [ids[passage.doc] for passage in await _search(retriever, _LABELLED_TENANT, (), text)]

        async def run() -> RetrievalScores:
            try:
                await _index(store, cached, Path(folder) / "documents", tenant=_LABELLED_TENANT)
                return await retrieval.evaluate(labelled, search, k=depth)
            finally:
                await store.close()

        return asyncio.run(run())


def _write_documents(documents: Sequence[LabelledDocument], folder: Path) -> dict[str, str]:
    """Write the documents as public Markdown files; file name -> id."""
    folder.mkdir()
    ids = {}
    for number, document in enumerate(documents):
        name = f"{number:06d}.md"
        ids[name] = document.id
        front = {
            "title": document.title or document.id,
            "owner": "evaluation",
            "source": document.id,
            "classification": "public",
            "access": ["public"],
        }
        head = "\n".join(f"{key}: {json.dumps(value)}" for key, value in front.items())
        (folder / name).write_text(f"---\n{head}\n---\n{document.text}\n", "utf-8")
    return ids


def _print_answers(found: AnswerReport, asks: dict[str, str]) -> None:
    console = Console()
    table = Table("measure", "share", "95 % interval", "of", box=None)
    measures: tuple[tuple[str, str], ...] = (
        ("found", "fact among the passages"),
        ("facts", "fact in the answer"),
        ("to_the_point", "answers that hold the fact"),
        ("cited", "right answers with right citations"),
        ("silent", "no answer where there is none"),
        ("right", "right in all"),
    )
    for name, title in measures:
        rate = getattr(found, name)
        table.add_row(title, f"{rate.value:.3f}", f"{rate.low:.3f} to {rate.high:.3f}", str(rate.total))
    console.print(table)
    console.print(f"leaks: {found.leaks}; median length of an answer: {found.median_chars:.0f} characters")
    for one in found.failed:
        console.print(printable(f"- {one.id}: {_failure(one)}. {asks[one.id]}"), highlight=False)


def _failure(one: Scored) -> str:
    return "; ".join(filter(None, ("leaked" if one.leaked else "", explained(one.outcome))))


def _plain(found: AnswerReport) -> dict[str, Any]:
    """The report for JSON, each rate with its value."""
    plain: dict[str, Any] = msgspec.to_builtins(found)
    for rate in plain.values():
        if isinstance(rate, dict):
            rate["value"] = rate["hits"] / rate["total"] if rate["total"] else None
    return plain
