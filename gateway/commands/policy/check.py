"""`gateway policy lint` and `test`."""

import sys
from collections.abc import Callable, Sequence
from datetime import UTC, datetime
from pathlib import Path
from typing import Any, Final

import click
import msgspec

from gateway.commands.policy.common import WRONG, load, paths_argument, print_json, report_option, sound
from gateway.commands.policy.reports import Case, render
from gateway.domain.errors import Fault, FaultsFound
from gateway.policy.bundle import Bundle
from gateway.policy.codes import is_error
from gateway.policy.conversations import ConversationResult
from gateway.policy.coverage import KINDS, Coverage, coverage
from gateway.policy.lint import lint
from gateway.policy.mutants import MutationResult, mutate
from gateway.policy.trials import TrialResult, run_trials

_SHOWN: Final = 40  # goals and mutants that a terminal lists; JSON has all


@click.command("lint")
@paths_argument
@report_option
@click.option("--strict", is_flag=True, help="Count warnings as errors.")
@click.pass_context
def lint_command(context: click.Context, *, paths: tuple[Path, ...], form: str, strict: bool) -> None:
    """Find everything that is wrong with the policies in PATHS (default: policies).

    \b
    Examples: gateway policy lint policies/base policies/finance
              gateway policy lint --strict --format sarif > policies.sarif
    """
    now = datetime.now(UTC)
    faults: tuple[Fault, ...]
    files: list[str] = []
    try:
        bundle = load(context, paths, now)
        faults = lint(bundle, now=now)
        files = [source.file for source in bundle.sources]
        summary = f"{len(bundle.rules)} rules, {bundle.digest}"
    except FaultsFound as found:
        faults, summary = found.faults, "not loaded"
    wrong = [fault for fault in faults if strict or is_error(fault.code)]
    if form == "json":
        shown = [{**msgspec.to_builtins(fault), "severity": _severity(fault)} for fault in faults]
        print_json({"ok": not wrong, "faults": shown})
    elif form == "text":
        for fault in faults:
            click.echo(f"{fault} ({_severity(fault)})")
        click.echo(f"{len(faults)} findings; {summary}")
    else:
        clean = set(files) - {fault.file for fault in faults}
        cases = [Case(fault.file, fault.line, fault.code, fault) for fault in faults]
        click.echo(render(form, "lint", [*cases, *(Case(file, 1, "lint") for file in clean)]))
    sys.exit(WRONG if wrong else 0)


_share = click.FloatRange(0, 1)


@click.command("test")
@paths_argument
@report_option
@click.option("--coverage", "covered", is_flag=True, help="Show what the unit tests cover.")
@click.option("--min-coverage", type=_share, help="Fail below this share of covered goals, e.g. 0.95.")
@click.option("--mutate", "mutating", is_flag=True, help="Change each rule a little: does a test fail?")
@click.option("--min-score", type=_share, help="With --mutate: fail below this share of killed mutants, e.g. 0.9.")
@click.option(
    "--budget", type=click.IntRange(min=1), default=5000, show_default=True, help="With --mutate: how many mutants."
)
@click.pass_context
def test_command(
    context: click.Context,
    *,
    paths: tuple[Path, ...],
    form: str,
    covered: bool,
    min_coverage: float | None,
    mutating: bool,
    min_score: float | None,
    budget: int,
) -> None:
    """Run the tests that the policies in PATHS carry (default: policies).

    Conversations run too where the installation brings detectors.

    \b
    Examples: gateway policy test policies/base
              gateway policy test --min-coverage 0.95
              gateway policy test --mutate --min-score 0.9
              gateway policy test --format junit > policies.xml
    """
    now = datetime.now(UTC)
    bundle = sound(context, paths, now, form)
    converse: Callable[[Bundle], tuple[ConversationResult, ...]] | None = context.obj.get("converse")
    run = _Run(
        bundle=bundle,
        trials=run_trials(bundle, now=now),
        conversations=converse(bundle) if converse is not None else (),
        skipped=None if converse is not None else len(bundle.dialogues),
        coverage=coverage(bundle, now=now) if covered or min_coverage is not None else None,
        mutation=mutate(bundle, now=now, budget=budget) if mutating or min_score is not None else None,
        min_coverage=min_coverage or 0.0,
        min_score=min_score or 0.0,
    )
    if form == "json":
        print_json(run.as_json())
    elif form == "text":
        run.print()
    else:
        click.echo(render(form, "test", run.cases()))
    sys.exit(0 if run.ok else WRONG)


class _Run(msgspec.Struct, frozen=True, kw_only=True, eq=False):
    bundle: Bundle
    trials: tuple[TrialResult, ...]
    conversations: tuple[ConversationResult, ...]
    skipped: int | None
    coverage: Coverage | None
    mutation: MutationResult | None
    min_coverage: float
    min_score: float

    @property
    def ok(self) -> bool:
        return not any(case.fault for case in self.cases(survivors=False))

    def cases(self, *, survivors: bool = True) -> list[Case]:
        """Everything that was checked, with what is wrong with it. Survivors count by their share only."""
        cases = [_trial_case(one) for one in self.trials] + [_conversation_case(one) for one in self.conversations]
        cases += self._shares()
        if survivors and self.mutation is not None:
            found = self.mutation.survivors
            cases += [
                Case(one.file, one.line, one.change, _fault(one.file, one.line, "POL204", f"{one.rule}: {one.change}"))
                for one in found
            ]
        return cases

    def _shares(self) -> list[Case]:
        cases = []
        if self.coverage is not None:
            share = self.coverage.share()
            message = f"coverage is {share:.3f}: {self.min_coverage:g} is asked for, add tests"
            fault = _fault("", 0, "POL203", message) if share < self.min_coverage else None
            cases.append(Case("", 0, "coverage", fault))
        if self.mutation is not None:
            score = self.mutation.score
            message = f"mutation score is {score:.3f}: {self.min_score:g} is asked for, add tests"
            fault = _fault("", 0, "POL205", message) if score < self.min_score else None
            cases.append(Case("", 0, "mutation score", fault))
        return cases

    def as_json(self) -> dict[str, Any]:
        shown: dict[str, Any] = {
            "ok": self.ok,
            "digest": self.bundle.digest,
            "tests": [_trial_json(one) for one in self.trials],
            "conversations": [msgspec.to_builtins(one) for one in self.conversations],
            "conversations_skipped": self.skipped or 0,
        }
        if self.coverage is not None:
            kinds = {kind: dict(zip(("covered", "total"), self.coverage.count(kind), strict=True)) for kind in KINDS}
            missing = [msgspec.to_builtins(goal) for goal in self.coverage.missing()]
            shown["coverage"] = {"share": round(self.coverage.share(), 4), "kinds": kinds, "missing": missing}
        if self.mutation is not None:
            shown["mutation"] = {**msgspec.to_builtins(self.mutation), "score": round(self.mutation.score, 4)}
        return shown

    def print(self) -> None:
        for trial in self.trials:
            one = trial.trial
            if not trial.passed:
                click.echo(f"{one.file}:{one.line}: {one.rule} ({trial.phase.value}) `{one.name}`: {trial.message}")
        for conversation in self.conversations:
            if not conversation.passed:
                click.echo(f"{conversation.file}:{conversation.line}: `{conversation.name}`: {conversation.message}")
        results: Sequence[TrialResult | ConversationResult] = (*self.trials, *self.conversations)
        failed = sum(not one.passed for one in results)
        skipped = "" if self.skipped is None else f", {self.skipped} conversations skipped: no detectors here"
        if self.coverage is not None:
            _print_coverage(self.coverage)
        if self.mutation is not None:
            _print_mutation(self.mutation)
        for case in self._shares():
            if case.fault is not None:
                click.echo(f"{case.fault.code} {case.fault.message}")
        click.echo(f"{len(results) - failed} passed, {failed} failed{skipped}")


def _print_coverage(found: Coverage) -> None:
    click.echo(f"{'coverage':10} {'covered':>8} {'total':>8} {'share':>7}")
    for kind in (*KINDS, ""):
        covered, total = found.count(kind)
        click.echo(f"{kind or 'all':10} {covered:8} {total:8} {found.share(kind):7.1%}")
    missing = found.missing()
    for goal in missing[:_SHOWN]:
        click.echo(f"  no test: {goal.of} {goal.kind}: {goal.what}")
    if len(missing) > _SHOWN:
        click.echo(f"  and {len(missing) - _SHOWN} more: see --format json")


def _print_mutation(found: MutationResult) -> None:
    killed = found.tried - len(found.survivors)
    click.echo(f"mutation score {found.score:.3f}: {killed} of {found.tried} mutants killed, {found.possible} possible")
    for one in found.survivors[:_SHOWN]:
        click.echo(f"  {one.file}:{one.line}: {one.rule} survives: {one.change}")
    if len(found.survivors) > _SHOWN:
        click.echo(f"  and {len(found.survivors) - _SHOWN} more: see --format json")


def _trial_case(result: TrialResult) -> Case:
    trial = result.trial
    fault = None if result.passed else _fault(trial.file, trial.line, "POL201", f"`{trial.name}`: {result.message}")
    return Case(trial.file, trial.line, f"{trial.rule} ({result.phase.value}) {trial.name}", fault)


def _conversation_case(result: ConversationResult) -> Case:
    fault = None if result.passed else _fault(result.file, result.line, "POL202", f"`{result.name}`: {result.message}")
    return Case(result.file, result.line, result.name, fault)


def _fault(file: str, line: int, code: str, message: str) -> Fault:
    return Fault(file, line, 1 if line else 0, code, message)


def _trial_json(result: TrialResult) -> dict[str, Any]:
    trial = result.trial
    return {
        "rule": trial.rule,
        "phase": result.phase.value,
        "name": trial.name,
        "file": trial.file,
        "line": trial.line,
        "passed": result.passed,
        "message": result.message,
    }


def _severity(fault: Fault) -> str:
    return "error" if is_error(fault.code) else "warning"
