"""`gateway policy replay`."""

import sys
from collections.abc import Iterator, Mapping
from contextlib import nullcontext
from datetime import UTC, datetime
from pathlib import Path
from typing import Any, Final

import click

from gateway.audit.body_read import REASON
from gateway.audit.read import Filter
from gateway.commands.policy.common import WRONG, cannot_run, format_option, print_json, sound
from gateway.commands.policy.log import bundle_option, events_of, levels_in, log_option
from gateway.domain.event import PLAYGROUND
from gateway.domain.vocabulary import Effect
from gateway.policy.recorded import recordings
from gateway.policy.replay import Replayed, Summary, replay, summarise
from gateway.policy.reviews import Precision, Reviews, precision, reviews

_EXCHANGES: Final = frozenset({"intent", "outcome", "stream.close"})
_EFFECTS: Final = tuple(Effect)

Matrix = Mapping[tuple[Effect, Effect], int]


@click.command("replay")
@click.argument("candidate", nargs=-1, required=True, type=click.Path(path_type=Path))
@log_option
@bundle_option
@click.option("--since", type=click.DateTime(), help="Exchanges from this time on, in UTC.")
@click.option("--until", type=click.DateTime(), help="Exchanges before this time, in UTC.")
@click.option("--app", default="", help="Exchanges of one application.")
@click.option("--tenant", default="", help="Exchanges of one tenant.")
@click.option(
    "--samples", type=click.IntRange(min=0), default=5, show_default=True, help="Ids shown of each transition."
)
@click.option(
    "--minutes", type=click.FloatRange(min=0), help="Time to decide a case. Default: the median of past cases."
)
@click.option(
    "--bodies", is_flag=True, help="Run detectors on texts kept encrypted, where the record does not suffice."
)
@click.option("--reason", default="", help="With --bodies: why the texts are opened; each opening is recorded first.")
@click.option("--expect-same", is_flag=True, help="Exit with 1 if any verdict would have been another.")
@format_option
@click.pass_context
def replay_command(
    context: click.Context,
    *,
    candidate: tuple[Path, ...],
    log: Path | None,
    bundle: Path | None,
    since: datetime | None,
    until: datetime | None,
    app: str,
    tenant: str,
    samples: int,
    minutes: float | None,
    bodies: bool,
    reason: str,
    expect_same: bool,
    form: str,
) -> None:
    """Ask the policies in CANDIDATE about the exchanges of an audit log: what would have ended otherwise?

    Only what was recorded is used, and an exchange whose record does not suffice is counted as such. With --bodies,
    detectors that did not run then, or ran in another version, run on the texts that the data folder keeps encrypted.

    \b
    Examples: gateway policy replay /tmp/candidate --since 2026-11-01
              gateway policy replay /tmp/candidate --bodies --reason "CHG-17 new detector"
              gateway policy replay policies --bundle evidence.zip --expect-same
    """
    now = datetime.now(UTC)
    if bodies and (log is not None or bundle is not None):
        cannot_run("`--bodies` opens texts of the data folder of the settings: leave `--log` and `--bundle` out")
    if bodies and not REASON.fullmatch(reason):
        cannot_run("`--bodies` needs `--reason` with 8 to 120 letters, digits, spaces and `.:/#-`: say why")
    policies = sound(context, candidate, now, form, levels=levels_in(context))
    wanted = Filter(
        types=_EXCHANGES,
        app=app,
        tenant=tenant,
        since=since.replace(tzinfo=UTC) if since else None,
        until=until.replace(tzinfo=UTC) if until else None,
    )
    exchanges = events_of(context, log, bundle, wanted)
    cases = events_of(context, log, bundle, Filter(tenant=tenant))
    versions = context.obj.get("versions")
    current: Mapping[str, str] = versions(policies) if versions is not None else {}

    def replayed() -> Iterator[Replayed]:
        with context.obj["recomputing"](policies, reason) if bodies else nullcontext() as recompute:
            asked = (event for event in exchanges() if not event.get(PLAYGROUND))  # trials tell nothing of apps
            for recording in recordings(asked):
                yield replay(policies, recording, versions=lambda name: current.get(name, ""), recompute=recompute)

    decided = reviews(event for event in cases() if str(event.get("type", "")).startswith("case."))
    kept: list[Replayed] = []

    def noted() -> Iterator[Replayed]:
        for one in replayed():
            if one.case in decided.refused:
                kept.append(one)
            yield one

    summary = summarise(noted(), samples=samples)
    report = _Report(summary, decided, precision(kept, decided), minutes)
    if form == "json":
        print_json({"candidate": policies.digest, **report.as_json()})
    else:
        report.print(policies.digest)
    sys.exit(WRONG if expect_same and not summary.is_empty else 0)


class _Report:
    def __init__(self, summary: Summary, decided: Reviews, precise: Precision, minutes: float | None) -> None:
        self._summary = summary
        self._decided = decided
        self._precise = precise
        self._minutes = minutes if minutes is not None else decided.minutes

    def as_json(self) -> dict[str, Any]:
        one, precise = self._summary, self._precise
        return {
            "exchanges": one.total,
            "exact": one.exact,
            "recomputed": one.recomputed,
            "not_replayable": {"count": one.total - one.exact - one.recomputed, "reasons": dict(one.not_replayable)},
            "changed": one.changed,
            "opened": one.opened,
            "first": one.first.isoformat() if one.first else None,
            "last": one.last.isoformat() if one.last else None,
            "transitions": _listed(one.matrix, one.samples),
            "by_app": {app: _listed(matrix) for app, matrix in one.by_app.items()},
            "by_rule": {rule: _listed(matrix) for rule, matrix in one.by_rule.items()},
            "escalations": {
                "was": one.count(Effect.ESCALATE, now=False),
                "would": one.count(Effect.ESCALATE, now=True),
                "minutes_per_case": self._minutes,
                "hours_was": self._hours(now=False),
                "hours_would": self._hours(now=True),
            },
            "decided_cases": {
                "total": len(self._decided.refused),
                "held_refused": precise.held_refused,
                "held_approved": precise.held_approved,
                "let_go_refused": precise.let_go_refused,
                "let_go_approved": precise.let_go_approved,
                "precision": precise.share,
            },
        }

    def print(self, digest: str) -> None:
        one, precise = self._summary, self._precise
        click.echo(f"candidate {digest}")
        span = f", {one.first:%Y-%m-%d} to {one.last:%Y-%m-%d}" if one.first and one.last else ""
        lost = one.total - one.exact - one.recomputed
        click.echo(
            f"{one.total} exchanges{span}: {one.exact} exact, {one.recomputed} recomputed, {lost} not replayable"
        )
        for reason, count in one.not_replayable.items():
            click.echo(f"  {count} not replayable: {reason}")
        _print_matrix(one.matrix)
        for (was, would), ids in sorted(one.samples.items()):
            click.echo(f"{was.value} -> {would.value}: {', '.join(ids)}")
        for app, matrix in one.by_app.items():
            for sides, count in _moved(matrix):
                click.echo(f"app {app}: {count} {sides}")
        for rule, matrix in one.by_rule.items():
            click.echo(f"rule {rule}: {', '.join(f'{number} {sides}' for sides, number in _moved(matrix))}")
        if one.opened:
            click.echo(f"{one.opened} go on that were stopped: what would have come of them is not in the log")
        before, after = one.count(Effect.ESCALATE, now=False), one.count(Effect.ESCALATE, now=True)
        click.echo(f"escalations: {before} then, {after} with the candidate{self._forecast()}")
        if self._decided.refused:
            share = "none held" if precise.share is None else f"{precise.share:.0%} of those held were refused"
            click.echo(
                f"past decisions: {share}; it would let go {precise.let_go_refused} that people refused "
                f"and {precise.let_go_approved} that they approved"
            )
        click.echo(f"{one.changed} exchanges would have ended otherwise")

    def _forecast(self) -> str:
        then, now = self._hours(now=False), self._hours(now=True)
        if then is None or now is None:
            return ": no case was decided yet, give `--minutes` for a forecast of hours"
        return f", {then:.1f} and {now:.1f} hours of reviewers at {self._minutes:g} minutes a case"

    def _hours(self, *, now: bool) -> float | None:
        if self._minutes is None:
            return None
        return round(self._summary.count(Effect.ESCALATE, now=now) * self._minutes / 60, 2)


def _listed(matrix: Matrix, samples: Mapping[tuple[Effect, Effect], tuple[str, ...]] | None = None) -> list[Any]:
    return [
        {"was": was.value, "would": would.value, "count": count}
        | ({"samples": list(samples[was, would])} if samples and (was, would) in samples else {})
        for (was, would), count in sorted(matrix.items())
    ]


def _moved(matrix: Matrix) -> list[tuple[str, int]]:
    found = ((f"{was.value} -> {would.value}", count) for (was, would), count in sorted(matrix.items()) if was != would)
    return list(found)


def _print_matrix(matrix: Matrix) -> None:
    click.echo(f"{'then / candidate':16} " + " ".join(f"{effect.value:>9}" for effect in _EFFECTS))
    for was in _EFFECTS:
        row = [matrix.get((was, would), 0) for would in _EFFECTS]
        if any(row):
            click.echo(f"{was.value:16} " + " ".join(f"{count:9}" for count in row))
