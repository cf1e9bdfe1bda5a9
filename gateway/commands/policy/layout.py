"""`gateway policy fmt`."""

import difflib
import sys
from pathlib import Path

import click

from gateway.commands.policy.common import (
    CANNOT_RUN,
    WRONG,
    cannot_run,
    existing,
    paths_argument,
    print_json,
    report_option,
    shown_faults,
)
from gateway.commands.policy.reports import Case, render
from gateway.domain.errors import ConfigurationError, Fault, FaultsFound
from gateway.policy.layout import formatted
from gateway.policy.load import PolicyFile, read_files


@click.command("fmt")
@paths_argument
@click.option("--check", is_flag=True, help="Change nothing; exit with 1 if a file is not in the canonical layout.")
@click.option("--diff", "differing", is_flag=True, help="Change nothing; print what would change.")
@report_option
def fmt_command(*, paths: tuple[Path, ...], check: bool, differing: bool, form: str) -> None:
    """Bring the files in PATHS (default: policies) into the one layout; comments stay, the meaning too.

    \b
    Examples: gateway policy fmt policies/finance
              gateway policy fmt --check --format sarif > layout.sarif
    """
    changed: list[str] = []
    cases: list[Case] = []
    broken: list[Fault] = []
    try:
        files = read_files(existing(paths))
    except ConfigurationError as error:
        cannot_run(error.message)
    for one in files:
        text, result, faults = _formatted(one)
        broken += faults
        cases += [Case(fault.file, fault.line, fault.code, fault) for fault in faults]
        if text is None or result is None:
            continue
        fault = None
        if result != text:
            changed.append(one.file)
            line = _first_difference(text, result)
            fault = Fault(one.file, line, 1, "POL301", "not in the canonical layout: run `gateway policy fmt`")
            if not check and not differing:
                _write(Path(one.file), result)
        cases.append(Case(one.file, fault.line if fault else 1, "fmt", fault))
        if differing and form == "text":
            click.echo(_difference(one.file, text, result), nl=False)
    _report(form, changed, cases, broken, total=len(files), written=not check and not differing)
    sys.exit(WRONG if broken or ((check or differing) and changed) else 0)


def _formatted(one: PolicyFile) -> tuple[str | None, str | None, list[Fault]]:
    """The text of a file, its layout, and what keeps it from having one."""
    if one.content is None:
        return None, None, [Fault(one.file, 1, 1, "POL021", one.fault)]
    try:
        text = one.content.decode("utf-8")
        return text, formatted(text, one.file), []
    except UnicodeDecodeError:
        return None, None, [Fault(one.file, 1, 1, "POL021", "not utf-8: save the file as UTF-8")]
    except FaultsFound as found:
        return None, None, list(found.faults)


def _report(
    form: str, changed: list[str], cases: list[Case], broken: list[Fault], *, total: int, written: bool
) -> None:
    if form == "json":
        print_json({"ok": not broken and (written or not changed), "changed": changed, "faults": shown_faults(broken)})
    elif form == "text":
        for fault in broken:
            click.echo(str(fault))
        for name in changed:
            click.echo(f"{'formatted' if written else 'would change'} {name}")
        click.echo(f"{len(changed)} of {total} files {'changed' if written else 'would change'}")
    else:
        done = [Case(one.file, one.line, one.name) if written and one.name == "fmt" else one for one in cases]
        click.echo(render(form, "fmt", done))


def _first_difference(text: str, result: str) -> int:
    lines = zip(text.split("\n"), result.split("\n"), strict=False)
    return next((number for number, (one, other) in enumerate(lines, 1) if one != other), 1)


def _difference(name: str, text: str, result: str) -> str:
    lines = difflib.unified_diff(
        text.splitlines(keepends=True), result.splitlines(keepends=True), name, f"{name} (formatted)"
    )
    return "".join(line if line.endswith("\n") else f"{line}\n" for line in lines)


def _write(file: Path, text: str) -> None:
    """Write beside the file and put it in its place, so that nobody ever reads half of it."""
    fresh = file.with_name(f".{file.name}.fmt")
    try:
        fresh.write_text(text, "utf-8", newline="\n")
        fresh.chmod(file.stat().st_mode)
        fresh.replace(file)
    except OSError as error:
        fresh.unlink(missing_ok=True)
        click.echo(f"gateway policy: `{file}` cannot be written: {(error.strerror or 'unknown').lower()}", err=True)
        sys.exit(CANNOT_RUN)
