"""`gateway cases seed`, `quality`, `capacity`, `post-reviews`: is the review good, and is there enough of it?"""

import asyncio
import os
from collections.abc import Mapping, Sequence
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Final

import click
import msgspec
from rich.console import Console
from rich.table import Table

from gateway.cases.case import Operator
from gateway.cases.measures import Share
from gateway.cases.quality import QualityReport, RulePrecision, assess, capacity_report, load_reviews, precision_of
from gateway.cases.seeds import Seeding, read_seeds
from gateway.cases.watch import alarm_event
from gateway.commands.case_store import RecordedAudit, binding_key, names_of, opened_cases
from gateway.commands.timeline import printable
from gateway.settings import CaseSettings, Settings

_data_dir = click.option(
    "--data-dir", type=click.Path(path_type=Path), help="Folder of the cases; that of the settings if not given."
)
_format = click.option("--format", "form", type=click.Choice(["text", "json"]), default="text", show_default=True)
_tenant = click.option("--tenant", default="", help="Cases of this tenant only.")
_days = click.option(
    "--days", type=click.IntRange(min=1, max=3660), help="How far to look back; else as in the settings."
)
_ID_BYTES: Final = 16


@click.command("seed")
@click.argument("file", type=click.Path(exists=True, dir_okay=False, path_type=Path))
@_data_dir
@click.pass_context
def seed(context: click.Context, *, file: Path, data_dir: Path | None) -> None:
    """Put cases with a known right decision into the queues. They look like any other and are delivered to nobody; a
    seed that was planted before is left out."""
    from gateway.policy.load import load_bundle

    settings: Settings = context.obj["settings"]
    bundle = load_bundle(settings.policies, signals=context.obj["signals"], now=datetime.now(UTC))
    seeds = read_seeds(file.read_text("utf-8"), str(file), known_rules=frozenset(rule.id for rule in bundle.rules))
    with opened_cases(context, data_dir, create=True) as store:
        seeding = Seeding(
            store,
            RecordedAudit(context.obj["record"]),
            key=binding_key(context, data_dir),
            policy=bundle.digest,
            ids=lambda: os.urandom(_ID_BYTES).hex(),
            clock=lambda: datetime.now(UTC),
        )

        async def plant() -> int:
            return sum([await seeding.plant(one) is not None for one in seeds])

        planted = asyncio.run(plant())
    click.echo(f"planted {planted} of {len(seeds)} seeds; {len(seeds) - planted} were there before")


@click.command("quality")
@_tenant
@_days
@_data_dir
@_format
@click.pass_context
def quality(context: click.Context, *, tenant: str, days: int | None, data_dir: Path | None, form: str) -> None:
    """Show how reviewers decide: known answers, agreement, appeals, time taken, and how often each rule was right.

    Who approves nearly everything faster than anybody reads is recorded in the audit log; the exit code then is 3.
    """
    settings: CaseSettings = context.obj["settings"].cases
    chosen = settings.quality if days is None else msgspec.structs.replace(settings.quality, window_days=days)
    now = datetime.now(UTC)
    since = now - timedelta(days=chosen.window_days)
    with opened_cases(context, data_dir) as store:
        reviews = asyncio.run(load_reviews(store, since, now, tenant))
    report, rules = assess(reviews, chosen, since=since, until=now), precision_of(reviews)
    for reviewer in report.alarms:
        context.obj["record"](alarm_event(reviewer, chosen))
    names = names_of(context, data_dir)
    if form == "json":
        told = [{"name": names.get(one.person, ""), **msgspec.to_builtins(one)} for one in report.reviewers]
        click.echo(msgspec.json.encode({**msgspec.to_builtins(report), "reviewers": told, "rules": rules}))
    else:
        _print_quality(report, rules, names)
    if report.alarms:
        context.exit(3)


@click.command("capacity")
@_tenant
@_days
@_data_dir
@_format
@click.pass_context
def capacity(context: click.Context, *, tenant: str, days: int | None, data_dir: Path | None, form: str) -> None:
    """Compare the hours that arriving cases take with the hours that each queue is staffed."""
    settings: CaseSettings = context.obj["settings"].cases
    staffed = {name: queue.staffed_hours_per_day for name, queue in settings.queues.items()}
    now = datetime.now(UTC)
    since = now - timedelta(days=days or settings.quality.window_days)
    with opened_cases(context, data_dir) as store:
        found = asyncio.run(capacity_report(store, staffed, since=since, until=now, tenant=tenant))
    if form == "json":
        click.echo(msgspec.json.encode(found))
        return
    table = Table("queue", "cases/day", "minutes/case", "hours needed/day", "hours staffed/day", "load", box=None)
    for one in found:
        minutes = "-" if one.work_s is None else f"{one.work_s / 60:.1f}"
        needed = "-" if one.needed_hours is None else f"{one.needed_hours:.1f}"
        load = "-" if one.load is None else f"{one.load:.0%}{' too much' if one.load >= 1 else ''}"
        table.add_row(
            printable(one.queue), f"{one.arrivals_per_day:.1f}", minutes, needed, f"{one.staffed_hours:.1f}", load
        )
    Console().print(table)


@click.command("post-reviews")
@_data_dir
@_format
@click.pass_context
def post_reviews(context: click.Context, *, data_dir: Path | None, form: str) -> None:
    """List the cases that were approved by breaking the glass and still need a second look, the earliest due first."""
    with opened_cases(context, data_dir) as store:
        found = asyncio.run(store.post_reviews(Operator()))
    if form == "json":
        click.echo(msgspec.json.encode(found))
        return
    table = Table("case", "state", "queue", "tenant/app", "reason", "to be looked at by", box=None)
    now = datetime.now(UTC)
    for case in found:
        by = case.course.review_by
        when = "-" if by is None else f"{by:%Y-%m-%d %H:%M}{' late' if now > by else ''}"
        where = f"{case.tenant}/{case.app}"
        table.add_row(*map(printable, (case.id, case.state.value, case.queue, where, case.course.reason, when)))
    Console().print(table)


def _print_quality(report: QualityReport, rules: Sequence[RulePrecision], names: Mapping[str, str]) -> None:
    console = Console()
    table = Table("reviewer", "decisions", "approved", "median seconds", "unseen", "known answers right", "", box=None)
    for one in report.reviewers:
        name = names.get(one.person, one.person[:14])
        dwell = "-" if one.dwell_s is None else f"{one.dwell_s:.0f}"
        table.add_row(
            printable(name),
            str(one.decisions),
            _share(one.approvals),
            dwell,
            str(one.unseen),
            _share(one.seeds),
            "ALARM: approves nearly all, faster than anybody reads" if one.alarm else "",
        )
    console.print(table)
    agreed = report.agreement
    kappa = "-" if agreed.kappa is None else f"{agreed.kappa:.2f} ({agreed.low:.2f} to {agreed.high:.2f})"
    console.print(f"\nknown answers right      {_share(report.seeds)}")
    console.print(f"blind second decisions   {agreed.agreed} of {agreed.cases} alike, Cohen's kappa {kappa}")
    console.print(f"appeals that changed it  {_share(report.overturned)}\n")
    table = Table("rule", "refused", "edited", "right to stop", box=None)
    for rule in rules:
        table.add_row(printable(rule.rule), str(rule.refused), str(rule.edited), _share(rule.precision))
    console.print(table)


def _share(share: Share) -> str:
    if not share.total:
        return "-"
    return f"{share.hits} of {share.total}, {share.value:.0%} ({share.low:.0%} to {share.high:.0%})"
