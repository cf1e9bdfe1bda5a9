"""`gateway policy`: check, test and explain policies.

Exit codes: 0 the policies are right, 1 they are wrong, 2 the tool could not run. The composition root passes in the
context object: `signals` (full names of what the installed detectors report, with types), and optionally `kinds`
(what a signal of kinds can report) and `converse` (runs the conversations of a bundle through the detectors).
"""

import json
import sys
from collections.abc import Callable, Iterable, Mapping
from datetime import UTC, datetime
from pathlib import Path
from typing import Any, Final, NoReturn

import click
import msgspec

from gateway.domain.errors import ConfigurationError, Fault, FaultsFound
from gateway.domain.vocabulary import SignalType
from gateway.policy.bundle import Bundle
from gateway.policy.compiled import as_json
from gateway.policy.conversations import ConversationResult
from gateway.policy.explain import RuleExplanation, evidence_from_json, explain
from gateway.policy.json_schema import policy_schema
from gateway.policy.lint import lint
from gateway.policy.load import load_bundle
from gateway.policy.trials import TrialResult, run_trials

WRONG: Final = 1
CANNOT_RUN: Final = 2

_paths = click.argument("paths", nargs=-1, type=click.Path(path_type=Path))
_format = click.option(
    "--format", "form", type=click.Choice(["text", "json"]), default="text", help="For people, or for programs."
)


@click.group("policy")
def policy() -> None:
    """Check, test and explain policies."""


@policy.command("lint")
@_paths
@_format
@click.option("--strict", is_flag=True, help="Count warnings as errors.")
@click.pass_context
def lint_command(context: click.Context, *, paths: tuple[Path, ...], form: str, strict: bool) -> None:
    """Find everything that is wrong with the policies in PATHS (default: policies).

    \b
    Example: gateway policy lint policies/finance
    """
    now = datetime.now(UTC)
    faults: tuple[Fault, ...]
    try:
        bundle = _load(context, paths, now)
        faults = lint(bundle, now=now)
        summary = f"{len(bundle.rules)} rules, {bundle.digest}"
    except FaultsFound as found:
        faults, summary = found.faults, "not loaded"
    wrong = [fault for fault in faults if strict or _is_error(fault)]
    if form == "json":
        shown = [{**msgspec.to_builtins(fault), "severity": _severity(fault)} for fault in faults]
        _print_json({"ok": not wrong, "faults": shown})
    else:
        for fault in faults:
            click.echo(f"{fault} ({_severity(fault)})")
        click.echo(f"{len(faults)} findings; {summary}")
    sys.exit(WRONG if wrong else 0)


@policy.command("test")
@_paths
@_format
@click.pass_context
def test_command(context: click.Context, *, paths: tuple[Path, ...], form: str) -> None:
    """Run the tests that the policies in PATHS carry (default: policies).

    Conversations run too where the installation brings detectors.

    \b
    Example: gateway policy test policies/base
    """
    now = datetime.now(UTC)
    try:
        bundle = _load(context, paths, now)
    except FaultsFound as found:
        _report_faults(found, form)
    trials = run_trials(bundle, now=now)
    converse: Callable[[Bundle], tuple[ConversationResult, ...]] | None = context.obj.get("converse")
    conversations = converse(bundle) if converse is not None else ()
    failed = [one for one in trials if not one.passed], [one for one in conversations if not one.passed]
    if form == "json":
        _print_json(
            {
                "ok": not any(failed),
                "digest": bundle.digest,
                "tests": [_trial_json(one) for one in trials],
                "conversations": [msgspec.to_builtins(one) for one in conversations],
                "conversations_skipped": 0 if converse is not None else len(bundle.dialogues),
            }
        )
    else:
        for trial in failed[0]:
            one = trial.trial
            click.echo(f"{one.file}:{one.line}: {one.rule} ({trial.phase.value}) `{one.name}`: {trial.message}")
        for conversation in failed[1]:
            click.echo(f"{conversation.file}:{conversation.line}: `{conversation.name}`: {conversation.message}")
        passed = len(trials) + len(conversations) - len(failed[0]) - len(failed[1])
        skipped = "" if converse is not None else f", {len(bundle.dialogues)} conversations skipped: no detectors here"
        click.echo(f"{passed} passed, {len(failed[0]) + len(failed[1])} failed{skipped}")
    sys.exit(WRONG if any(failed) else 0)


@policy.command("schema")
def schema_command() -> None:
    """Print the JSON Schema that gives editors completion and hover texts.

    \b
    Example: gateway policy schema > policies/policy.schema.json
    """
    _print_json(policy_schema())


@policy.command("explain")
@click.argument("evidence", type=click.File("r", encoding="utf-8"))
@_paths
@_format
@click.pass_context
def explain_command(context: click.Context, *, evidence: Any, paths: tuple[Path, ...], form: str) -> None:
    """Show how the policies in PATHS decide on EVIDENCE, a JSON file or `-`: every rule, every atom.

    \b
    Example: echo '{"phase": "query", "values": {"user": {"injection.score": 0.9}}}' | gateway policy explain -
    """
    now = datetime.now(UTC)
    try:
        bundle = _load(context, paths, now)
    except FaultsFound as found:
        _report_faults(found, form)
    try:
        explanation = explain(bundle, evidence_from_json(bundle, json.load(evidence)), now=now)
    except (ConfigurationError, json.JSONDecodeError, UnicodeDecodeError) as error:
        reason = error.message if isinstance(error, ConfigurationError) else "not json: check the file"
        _cannot_run(f"evidence: {reason}")
    if form == "json":
        _print_json(as_json(explanation))
        return
    verdict = explanation.verdict
    click.echo(f"{verdict.effect.value} ({', '.join(verdict.reasons) or 'no rule matched'}) by {verdict.policy}")
    for rule in explanation.rules:
        _print_rule(rule)


def _print_rule(rule: RuleExplanation) -> None:
    status = rule.status.value if rule.status is not None else "does not apply"
    lifted = f", lifted by {rule.exception}" if rule.exception else ""
    click.echo(f"{rule.rule} {status} -> {rule.effect.value} [{rule.mode.value}]{lifted}: {rule.title}")
    for atom in rule.atoms:
        click.echo(f"    {atom.truth:7} {atom.atom}   (value {json.dumps(atom.value, ensure_ascii=False)})")


def _load(context: click.Context, paths: tuple[Path, ...], now: datetime) -> Bundle:
    options: Mapping[str, Any] = context.obj
    signals: Mapping[str, SignalType] = options["signals"]
    kinds: Mapping[str, Iterable[str]] = options.get("kinds", {})
    chosen = paths or (Path("policies"),)
    missing = next((path for path in chosen if not path.exists()), None)
    if missing is not None:
        _cannot_run(f"`{missing}` does not exist: name a policy file or folder")
    try:
        return load_bundle(chosen, signals=signals, kinds=kinds, now=now)
    except FaultsFound:
        raise
    except ConfigurationError as error:
        _cannot_run(error.message)


def _report_faults(found: FaultsFound, form: str) -> NoReturn:
    if form == "json":
        _print_json({"ok": False, "faults": [msgspec.to_builtins(fault) for fault in found.faults]})
    else:
        for fault in found.faults:
            click.echo(str(fault))
    sys.exit(WRONG)


def _cannot_run(message: str) -> NoReturn:
    click.echo(f"gateway policy: {message}", err=True)
    sys.exit(CANNOT_RUN)


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


def _is_error(fault: Fault) -> bool:
    return not fault.code.startswith("POL1")


def _severity(fault: Fault) -> str:
    return "error" if _is_error(fault) else "warning"


def _print_json(value: Any) -> None:
    click.echo(json.dumps(value, indent=2, ensure_ascii=False))
