"""What the commands of `gateway policy` share: options, loading, exit codes.

Exit codes: 0 the policies are right, 1 they are wrong, 2 the tool could not run. The composition root passes in the
context object: `signals` (full names of what the installed detectors report, with types), and optionally `kinds`
(what a signal of kinds can report) and `converse` (runs the conversations of a bundle through the detectors).
"""

import json
import sys
from collections.abc import Iterable, Mapping, Sequence
from datetime import datetime
from pathlib import Path
from typing import Any, Final, NoReturn

import click

from gateway.commands.policy.reports import FORMATS, Case, render
from gateway.domain.errors import ConfigurationError, Fault, FaultsFound
from gateway.domain.vocabulary import SignalType
from gateway.policy.bundle import Bundle
from gateway.policy.compiled import Levels
from gateway.policy.load import load_bundle

WRONG: Final = 1
CANNOT_RUN: Final = 2

paths_argument = click.argument("paths", nargs=-1, type=click.Path(path_type=Path))
format_option = click.option(
    "--format", "form", type=click.Choice(["text", "json"]), default="text", help="For people, or for programs."
)
report_option = click.option(
    "--format",
    "form",
    type=click.Choice(["text", "json", *FORMATS]),
    default="text",
    help="For people, for programs, for code scanning (SARIF 2.1.0) or for CI (JUnit).",
)


def load(
    context: click.Context, paths: Sequence[Path], now: datetime, *, levels: Mapping[str, Levels] | None = None
) -> Bundle:
    """The bundle of the files at `paths`. Raises `FaultsFound`; ends the command if the tool cannot run."""
    options: Mapping[str, Any] = context.obj
    signals: Mapping[str, SignalType] = options["signals"]
    kinds: Mapping[str, Iterable[str]] = options.get("kinds", {})
    chosen = existing(paths)
    try:
        return load_bundle(chosen, signals=signals, kinds=kinds, now=now, levels=levels)
    except FaultsFound:
        raise
    except ConfigurationError as error:
        cannot_run(error.message)


def existing(paths: Sequence[Path]) -> tuple[Path, ...]:
    """The paths, or the folder `policies` if there are none; ends the command if one does not exist."""
    chosen = tuple(paths) or (Path("policies"),)
    missing = next((path for path in chosen if not path.exists()), None)
    if missing is not None:
        cannot_run(f"`{missing}` does not exist: name a policy file or folder")
    return chosen


def sound(
    context: click.Context,
    paths: Sequence[Path],
    now: datetime,
    form: str = "text",
    *,
    levels: Mapping[str, Levels] | None = None,
) -> Bundle:
    """Like `load`, but faults are reported and end the command."""
    try:
        return load(context, paths, now, levels=levels)
    except FaultsFound as found:
        report_faults(found.faults, form)


def report_faults(faults: Sequence[Fault], form: str) -> NoReturn:
    """Show what keeps a bundle from loading, and end the command."""
    if form == "json":
        print_json({"ok": False, "faults": shown_faults(faults)})
    elif form == "text":
        for fault in faults:
            click.echo(str(fault))
    else:
        click.echo(render(form, "load", [Case(fault.file, fault.line, fault.code, fault) for fault in faults]))
    sys.exit(WRONG)


def shown_faults(faults: Sequence[Fault]) -> list[dict[str, Any]]:
    """Faults as JSON values."""
    return [{name: getattr(fault, name) for name in fault.__struct_fields__} for fault in faults]


def cannot_run(message: str) -> NoReturn:
    click.echo(f"gateway policy: {message}", err=True)
    sys.exit(CANNOT_RUN)


def print_json(value: Any) -> None:
    click.echo(json.dumps(value, indent=2, ensure_ascii=False))
