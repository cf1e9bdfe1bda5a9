"""`gateway policy bench`."""

import json
import time
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import click
import msgspec

from gateway.commands.policy.common import cannot_run, format_option, paths_argument, print_json, sound
from gateway.domain.errors import ConfigurationError
from gateway.policy.cost import costs
from gateway.policy.explain import evidence_from_json


@click.command("bench")
@paths_argument
@click.option(
    "--evidence",
    "given",
    type=click.File("r", encoding="utf-8"),
    multiple=True,
    help="Evidence as JSON, as for `explain`, or one such object a line. Repeatable.",
)
@click.option(
    "--decisions", type=click.IntRange(min=1), default=5000, show_default=True, help="How many of each kind are timed."
)
@format_option
@click.pass_context
def bench_command(
    context: click.Context, *, paths: tuple[Path, ...], given: tuple[Any, ...], decisions: int, form: str
) -> None:
    """Measure what a decision by the policies in PATHS (default: policies) costs, by phase.

    Timed on a text in which nothing is found, on the evidence of the policies' own tests, and on yours.

    \b
    Example: gateway policy bench policies/finance --decisions 20000
    """
    now = datetime.now(UTC)
    start = time.perf_counter_ns()
    bundle = sound(context, paths, now, form)
    loaded_ms = (time.perf_counter_ns() - start) / 1e6
    evidence = []
    for file in given:
        try:
            evidence += [evidence_from_json(bundle, one) for one in _objects(file.read())]
        except (ConfigurationError, json.JSONDecodeError, UnicodeDecodeError) as error:
            reason = error.message if isinstance(error, ConfigurationError) else "not json: check the file"
            cannot_run(f"evidence: {reason}")
    found = costs(bundle, now=now, decisions=decisions, clock_ns=time.perf_counter_ns, given=evidence)
    if form == "json":
        print_json(
            {
                "digest": bundle.digest,
                "rules": len(bundle.rules),
                "load_ms": round(loaded_ms, 3),
                "costs": msgspec.to_builtins(found),
            }
        )
        return
    click.echo(f"{len(bundle.rules)} rules, read and compiled in {loaded_ms:.0f} ms")
    click.echo(f"{'phase':10} {'evidence':8} {'rules':>6} {'decisions':>9} {'p50 µs':>8} {'p99 µs':>8} {'max µs':>8}")
    for one in found:
        times = f"{one.p50_us:8.1f} {one.p99_us:8.1f} {one.max_us:8.1f}"
        click.echo(f"{one.phase.value:10} {one.kind:8} {one.rules:6} {one.decisions:9} {times}")


def _objects(text: str) -> list[Any]:
    """One JSON value, or one a line."""
    try:
        return [json.loads(text)]
    except json.JSONDecodeError:
        return [json.loads(line) for line in text.splitlines() if line.strip()]
