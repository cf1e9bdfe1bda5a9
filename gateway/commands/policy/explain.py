"""`gateway policy explain` and `schema`."""

import json
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import click

from gateway.commands.policy.common import cannot_run, format_option, paths_argument, print_json, sound
from gateway.domain.errors import ConfigurationError
from gateway.policy.compiled import as_json
from gateway.policy.explain import RuleExplanation, evidence_from_json, explain
from gateway.policy.json_schema import policy_schema


@click.command("schema")
def schema_command() -> None:
    """Print the JSON Schema that gives editors completion and hover texts.

    \b
    Example: gateway policy schema > policies/policy.schema.json
    """
    print_json(policy_schema())


@click.command("explain")
@click.argument("evidence", type=click.File("r", encoding="utf-8"))
@paths_argument
@format_option
@click.pass_context
def explain_command(context: click.Context, *, evidence: Any, paths: tuple[Path, ...], form: str) -> None:
    """Show how the policies in PATHS decide on EVIDENCE, a JSON file or `-`: every rule, every atom.

    \b
    Example: echo '{"phase": "query", "values": {"user": {"injection.score": 0.9}}}' | gateway policy explain -
    """
    now = datetime.now(UTC)
    bundle = sound(context, paths, now, form)
    try:
        explanation = explain(bundle, evidence_from_json(bundle, json.load(evidence)), now=now)
    except (ConfigurationError, json.JSONDecodeError, UnicodeDecodeError) as error:
        reason = error.message if isinstance(error, ConfigurationError) else "not json: check the file"
        cannot_run(f"evidence: {reason}")
    if form == "json":
        print_json(as_json(explanation))
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
