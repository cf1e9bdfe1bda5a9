"""`gateway eval groundedness`: how well unsupported answers are told from others, and false alarms on our own."""

import json
import time
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import click
import msgspec
from msgspec import Struct
from rich.console import Console
from rich.table import Table

from gateway.domain.grounds import Grounds
from gateway.domain.signal import Scan
from gateway.evaluation.answers import GivenAnswer, Question
from gateway.evaluation.groundedness import FOLDER, GroundednessScores, measure, read_set
from gateway.evaluation.injection import Rate, wilson
from rules.grounding.detector import CitationDetector, GroundingDetector
from rules.grounding.support import UNSUPPORTED


class OwnAnswers(Struct, frozen=True, kw_only=True):
    """Of the answers that the built-in model quotes from passages, those in which a detector sees anything, which none
    should. `alarms` are ids of questions with what was seen."""

    flagged: Rate
    alarms: dict[str, list[str]]


def own_answers(asked: Sequence[Question], given: Sequence[GivenAnswer]) -> OwnAnswers:
    """Judge the built-in model's answers by the passages that they quote."""
    alarms: dict[str, list[str]] = {}
    for question, answer in zip(asked, given, strict=True):
        grounds = Grounds(passages=answer.passages, question=question.ask)
        scans: list[Scan] = [
            *GroundingDetector(grounds).scan([answer.text]),
            *CitationDetector(grounds).scan([answer.text]),
        ]
        seen = sorted({finding.kind for scan in scans for finding in scan.findings})
        if seen:
            alarms[question.id] = seen
    return OwnAnswers(flagged=wilson(len(alarms), len(asked)), alarms=alarms)


def labelled_answers(where: Path) -> list[GroundednessScores]:
    """Every set in a file, or in the folder `groundedness` of a folder. Raises `ConfigurationError`."""
    files = [where] if where.is_file() else sorted((where / FOLDER).glob("*.jsonl.gz"))
    if not files:
        raise click.UsageError(f"`{where.name}` holds no `{FOLDER}/*.jsonl.gz`: give a set, or a folder with such sets")
    detector = GroundingDetector()
    return [
        measure(
            file.name.removesuffix(".jsonl.gz"),
            read_set(file),
            detector,
            threshold=UNSUPPORTED,
            clock_us=lambda: time.monotonic_ns() // 1000,
        )
        for file in files
    ]


def show(own: OwnAnswers | None, sets: Sequence[GroundednessScores], *, form: str) -> None:
    """Print the report as a table or as JSON."""
    if form == "json":
        click.echo(json.dumps({"own_answers": _plain(own), "sets": [_plain(one) for one in sets]}, indent=2))
        return
    console = Console()
    if own is not None:
        console.print(f"answers of the built-in model that are called unsupported: {own.flagged}", highlight=False)
        for question, seen in own.alarms.items():
            console.print(f"- {question}: {', '.join(seen)}", highlight=False)
    if sets:
        table = Table(
            "set", "answers", "AUROC", "by length alone", "found", "false alarms", "µs median", "p95", box=None
        )
        for one in sets:
            areas = [f"{a.value:.3f} [{a.low:.3f}, {a.high:.3f}]" for a in (one.detector, one.length)]
            rates = [f"{rate.value:.3f} [{rate.low:.3f}, {rate.high:.3f}]" for rate in (one.found, one.false_alarms)]
            table.add_row(one.name, str(one.answers), *areas, *rates, f"{one.median_us:.0f}", f"{one.p95_us:.0f}")
        console.print(table)


def options(command: Callable[..., Any]) -> Callable[..., Any]:
    """What `gateway eval groundedness` takes besides where to search."""
    for option in (
        click.option(
            "--max-alarms",
            type=click.FloatRange(0, 1),
            default=1.0,
            show_default=True,
            help="Share of the built-in model's answers that may be called unsupported.",
        ),
        click.option(
            "--labelled",
            type=click.Path(path_type=Path, exists=True),
            help="A labelled set, or a folder with sets; then nothing is searched or asked.",
        ),
    ):
        command = option(command)
    return command


def _plain(found: Struct | None) -> Any:
    """For JSON, each rate with its value."""
    plain = msgspec.to_builtins(found)
    if isinstance(plain, dict):
        for rate in plain.values():
            if isinstance(rate, dict) and "hits" in rate:
                rate["value"] = rate["hits"] / rate["total"] if rate["total"] else None
    return plain
