"""`gateway policy diff` and `prove`."""

import sys
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import click
import msgspec

from gateway.commands.policy.common import CANNOT_RUN, WRONG, cannot_run, format_option, print_json, sound
from gateway.policy.difference import difference
from gateway.policy.prove import BUDGET, Answer, Proof, can_match, no_weaker, shadowed
from gateway.strict_yaml import quoted, suggestion

_path = click.Path(path_type=Path)
_budget = click.option(
    "--budget", type=click.IntRange(min=1), default=BUDGET, show_default=True, help="Cases tried before giving up."
)


@click.command("diff")
@click.argument("old", type=_path)
@click.argument("new", type=_path)
@format_option
@click.pass_context
def diff_command(context: click.Context, *, old: Path, new: Path, form: str) -> None:
    """Say in words what NEW changes in OLD: rules, thresholds, scopes, exceptions, lists, texts.

    Layout, order, comments and tests are no change.

    \b
    Example: gateway policy diff policies /tmp/candidate
    """
    now = datetime.now(UTC)
    before, after = sound(context, (old,), now, form), sound(context, (new,), now, form)
    changes = difference(before, after, contents=True)
    if form == "json":
        print_json({"old": before.digest, "new": after.digest, "changes": msgspec.to_builtins(changes)})
        return
    for change in changes:
        click.echo(f"{change.direction.value:8} {change.what}: {change.text}")
    click.echo(f"{len(changes)} changes")


@click.group("prove")
def prove_command() -> None:
    """Answer a question about policies for all evidence: `yes`, `no` with a counterexample, or `unknown`.

    Exit codes: 0 the policies are right, 1 they are wrong, 2 nothing could be proved.
    """


@prove_command.command("no-weaker")
@click.argument("old", type=_path)
@click.argument("new", type=_path)
@format_option
@_budget
@click.pass_context
def no_weaker_command(context: click.Context, *, old: Path, new: Path, form: str, budget: int) -> None:
    """Is NEW at least as strict as OLD for every request?

    \b
    Example: gateway policy prove no-weaker policies /tmp/candidate
    """
    now = datetime.now(UTC)
    before, after = sound(context, (old,), now, form), sound(context, (new,), now, form)
    proof = no_weaker(before, after, now=now, budget=budget)
    if form == "json":
        print_json(_proof_json(proof, "weaker in the candidate"))
    else:
        _print_proof("no weaker", proof, "weaker in the candidate")
    sys.exit({Answer.YES: 0, Answer.NO: WRONG, Answer.UNKNOWN: CANNOT_RUN}[proof.answer])


@prove_command.command("can-match")
@click.argument("rule")
@click.argument("paths", nargs=-1, type=_path)
@format_option
@_budget
@click.pass_context
def can_match_command(context: click.Context, *, rule: str, paths: tuple[Path, ...], form: str, budget: int) -> None:
    """Is there a request that RULE in PATHS (default: policies) matches?

    \b
    Example: gateway policy prove can-match FIN-001
    """
    now = datetime.now(UTC)
    bundle = sound(context, paths, now, form)
    names = [one.id for one in bundle.rules]
    if rule not in names:
        cannot_run(f"unknown rule {quoted(rule)}: {suggestion(rule, names)}")
    proof = can_match(bundle, rule, now=now, budget=budget)
    if form == "json":
        print_json(_proof_json(proof, "matches"))
    else:
        _print_proof(f"{rule} can match", proof, "matches")
    sys.exit({Answer.YES: 0, Answer.NO: WRONG, Answer.UNKNOWN: CANNOT_RUN}[proof.answer])


@prove_command.command("shadowed")
@click.argument("paths", nargs=-1, type=_path)
@format_option
@_budget
@click.pass_context
def shadowed_command(context: click.Context, *, paths: tuple[Path, ...], form: str, budget: int) -> None:
    """Which rules in PATHS (default: policies) never decide, because others always reach their effect?

    \b
    Example: gateway policy prove shadowed policies
    """
    now = datetime.now(UTC)
    proofs = shadowed(sound(context, paths, now, form), now=now, budget=budget)
    useless = [name for name, proof in proofs.items() if proof.answer is Answer.YES]
    unknown = [name for name, proof in proofs.items() if proof.answer is Answer.UNKNOWN]
    if form == "json":
        print_json({"shadowed": useless, "unknown": unknown})
    else:
        for name in useless:
            click.echo(f"{name} is shadowed: its effect never decides")
        for name in unknown:
            click.echo(f"{name}: unknown, {proofs[name].reason}")
        click.echo(f"{len(useless)} of {len(proofs)} rules are shadowed, {len(unknown)} unknown")
    sys.exit(WRONG if useless else CANNOT_RUN if unknown else 0)


def _proof_json(proof: Proof, name: str) -> dict[str, Any]:
    shown: dict[str, Any] = {"answer": proof.answer.value, "reason": proof.reason, "tried": proof.tried}
    if proof.witness is not None:
        witness = proof.witness
        shown |= {"rule": witness.rule, "phase": witness.evidence.phase.value, "at": witness.now.isoformat()}
        shown["test"] = witness.as_test(name)
    return shown


def _print_proof(question: str, proof: Proof, name: str) -> None:
    click.echo(f"{question}: {proof.answer.value}{f', {proof.reason}' if proof.reason else ''}")
    if proof.witness is not None:
        witness = proof.witness
        click.echo(f"as a test of {witness.rule} (phase {witness.evidence.phase.value}, at {witness.now:%Y-%m-%d}):")
        click.echo(witness.as_test(name))
