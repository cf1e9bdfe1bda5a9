"""`gateway policy explain` and `schema`."""

import json
from collections.abc import Mapping
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import click

from gateway.commands.policy.common import cannot_run, format_option, paths_argument, print_json, sound
from gateway.commands.policy.log import bundle_option, exchange_of, levels_in, log_option
from gateway.domain.errors import ConfigurationError
from gateway.domain.vocabulary import RuleStatus
from gateway.policy.bundle import Bundle
from gateway.policy.compiled import as_json
from gateway.policy.explain import Explanation, RuleExplanation, evidence_from_json, explain
from gateway.policy.explain_recorded import explain_recording
from gateway.policy.json_schema import policy_schema
from gateway.policy.recorded import recordings


@click.command("schema")
def schema_command() -> None:
    """Print the JSON Schema that gives editors completion and hover texts.

    \b
    Example: gateway policy schema > policies/policy.schema.json
    """
    print_json(policy_schema())


@click.command("explain")
@click.argument("evidence", type=click.Path(path_type=Path), required=False)
@paths_argument
@click.option("--event", help="Explain a recorded exchange instead: its id, or the id or place of one of its events.")
@log_option
@bundle_option
@click.option("--all", "everything", is_flag=True, help="With --event: also the rules that did not match.")
@format_option
@click.pass_context
def explain_command(
    context: click.Context,
    *,
    evidence: Path | None,
    paths: tuple[Path, ...],
    event: str | None,
    log: Path | None,
    bundle: Path | None,
    everything: bool,
    form: str,
) -> None:
    """Show how the policies in PATHS decide on EVIDENCE, a JSON file or `-`: every rule, every atom.

    \b
    Examples: echo '{"phase": "query", "values": {"user": {"injection.score": 0.9}}}' | gateway policy explain -
              gateway policy explain --event req_2f41c0 policies
    """
    now = datetime.now(UTC)
    if event is not None:
        chosen = (*([evidence] if evidence is not None else []), *paths)
        policies = sound(context, chosen, now, form, levels=levels_in(context))
        _print_recorded(policies, exchange_of(context, log, bundle, event), form, everything=everything)
        return
    if evidence is None:
        cannot_run("no evidence: name a json file, `-`, or an exchange with `--event`")
    policies = sound(context, paths, now, form)
    try:
        with click.open_file(str(evidence), encoding="utf-8") as file:
            explanation = explain(policies, evidence_from_json(policies, json.load(file)), now=now)
    except (ConfigurationError, json.JSONDecodeError, UnicodeDecodeError) as error:
        reason = error.message if isinstance(error, ConfigurationError) else "not json: check the file"
        cannot_run(f"evidence: {reason}")
    except OSError as error:
        cannot_run(f"evidence: `{evidence}` cannot be read: {(error.strerror or 'unknown').lower()}")
    if form == "json":
        print_json(as_json(explanation))
        return
    _print_explanation(explanation, everything=True)


def _print_recorded(policies: Bundle, events: list[Mapping[str, Any]], form: str, *, everything: bool) -> None:
    found = [(one, explain_recording(policies, one)) for one in recordings(events)]
    if not found:
        cannot_run("no verdict was recorded for this: name an exchange that got as far as an `intent`")
    if form == "json":
        print_json([{"exchange": one.exchange, "judgements": as_json(told)} for one, told in found])
        return
    for one, told in found:
        click.echo(f"exchange {one.exchange} of {one.at:%Y-%m-%d %H:%M:%S} UTC, app {one.app}")
        for judgement in told:
            by = "the same policies" if judgement.same_policy else f"other policies, {judgement.policy}"
            click.echo(f"{judgement.phase.value}: recorded {judgement.effect.value} by {by}")
            if judgement.lifted:
                click.echo(f"  a person had lifted {', '.join(judgement.lifted)}")
            if judgement.explanation is None:
                click.echo(f"  cannot be explained: {judgement.missing}")
            else:
                _print_explanation(judgement.explanation, everything=everything)


def _print_explanation(explanation: Explanation, *, everything: bool) -> None:
    verdict = explanation.verdict
    click.echo(f"{verdict.effect.value} ({', '.join(verdict.reasons) or 'no rule matched'}) by {verdict.policy}")
    for rule in explanation.rules:
        if everything or rule.status not in {None, RuleStatus.NOT_MATCHED}:
            _print_rule(rule)


def _print_rule(rule: RuleExplanation) -> None:
    status = rule.status.value if rule.status is not None else "does not apply"
    lifted = f", lifted by {rule.exception}" if rule.exception else ""
    click.echo(f"{rule.rule} {status} -> {rule.effect.value} [{rule.mode.value}]{lifted}: {rule.title}")
    for atom in rule.atoms:
        click.echo(f"    {atom.truth:7} {atom.atom}   (value {json.dumps(atom.value, ensure_ascii=False)})")
