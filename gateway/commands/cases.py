"""`gateway cases`: list, show and decide escalated cases, as the owner of the data folder."""

import asyncio
import os
import re
from collections.abc import Callable
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Final, TypeVar

import click
import msgspec
from rich.console import Console
from rich.table import Table

from gateway.cases.case import REASON, REVIEWER, UNDECIDED, Case, CaseContent, CaseState, Operator
from gateway.cases.machine import Actor, Approve, Claim, Command, Refuse, Release
from gateway.cases.terms import person_of
from gateway.cases.transitions import Transitions
from gateway.commands.case_quality import capacity, post_reviews, quality, seed
from gateway.commands.case_store import RecordedAudit, binding_key, groups_of, opened_cases
from gateway.commands.timeline import printable
from gateway.domain.event import EventDraft, EventType

_OPERATOR: Final = Operator()
_NAME: Final = re.compile(r"[\w.@-]{1,200}")
T = TypeVar("T")

_data_dir = click.option(
    "--data-dir", type=click.Path(path_type=Path), help="Folder of the cases; that of the settings if not given."
)
_format = click.option("--format", "form", type=click.Choice(["text", "json"]), default="text", show_default=True)


@click.group("cases")
def cases() -> None:
    """List, show and decide escalated cases."""


@cases.command("list")
@click.option("--tenant", default="")
@click.option("--queue", default="")
@click.option(
    "--state",
    "states",
    multiple=True,
    type=click.Choice([state.value for state in CaseState]),
    help="Undecided if none.",
)
@click.option("--limit", type=click.IntRange(min=1, max=1_000), default=100, show_default=True)
@_data_dir
@_format
@click.pass_context
def list_cases(
    context: click.Context,
    *,
    tenant: str,
    queue: str,
    states: tuple[str, ...],
    limit: int,
    data_dir: Path | None,
    form: str,
) -> None:
    """List cases, the earliest due first."""
    wanted = frozenset(map(CaseState, states)) or UNDECIDED
    with opened_cases(context, data_dir) as store:
        found = asyncio.run(store.list_cases(_OPERATOR, tenant=tenant, queue=queue, states=wanted, limit=limit))
    if form == "json":
        click.echo(msgspec.json.encode(found))
        return
    now = datetime.now(UTC)
    table = Table("case", "state", "queue", "tenant/app", "phase", "rules", "due", box=None)
    for case in found:
        late = " late" if now > case.due else ""
        about = (case.id, case.state.value, case.queue, f"{case.tenant}/{case.app}", case.phase.value)
        table.add_row(*map(printable, (*about, ", ".join(case.rules), f"{case.due:%Y-%m-%d %H:%M}{late}")))
    Console().print(table)


@cases.command("show")
@click.argument("case_id", metavar="ID")
@click.option("--reveal", is_flag=True, help="Show question, held answer and passages too. It is recorded.")
@click.option("--reason", default="", help="Code, ticket or few words why; required with --reveal.")
@_data_dir
@_format
@click.pass_context
def show(context: click.Context, *, case_id: str, reveal: bool, reason: str, data_dir: Path | None, form: str) -> None:
    """Show a case; its content only with --reveal and a reason, which the audit log keeps."""
    if reveal and not REASON.fullmatch(reason):
        raise click.UsageError(
            "`--reveal` opens sealed content: give `--reason`, a code, a ticket or a few plain words"
        )
    with opened_cases(context, data_dir) as store:
        case = asyncio.run(store.get(case_id, _OPERATOR))
        if case is None:
            raise click.ClickException(f"there is no case `{case_id}`: see `gateway cases list`")
        content = None
        if reveal:
            record: Callable[[EventDraft], object] = context.obj["record"]
            record(_read_event(case, reason))  # before the content is opened; what cannot be recorded stays closed
            content = asyncio.run(store.content(case_id, _OPERATOR))
    if form == "json":
        click.echo(msgspec.json.encode({"case": case, "content": content}))
    else:
        _print(case, content, revealed=reveal)


def _act(context: click.Context, case_id: str, command: Command, reviewer: str, data_dir: Path | None) -> None:
    """Move a case as the named reviewer: the rules of the state machine hold as they do over HTTP."""
    if not _NAME.fullmatch(reviewer):
        raise click.UsageError("`--as` is a user's name as the API keys have it: letters, digits, `.`, `@`, `_`, `-`")
    reason = getattr(command, "reason", None)
    if reason is not None and not REASON.fullmatch(reason):
        raise click.UsageError("`--reason` is a code, a ticket or a few plain words")
    with opened_cases(context, data_dir) as store:
        case = asyncio.run(store.get(case_id, _OPERATOR))
        if case is None:
            raise click.ClickException(f"there is no case `{case_id}`: see `gateway cases list`")
        transitions = Transitions(
            store,
            RecordedAudit(context.obj["record"]),
            clock=lambda: datetime.now(UTC),
            announce=context.obj["announce"],
        )
        actor = Actor(
            person=person_of(case.tenant, reviewer, binding_key(context, data_dir)),
            ref=f"os:{os.getuid()}",
            roles=frozenset({REVIEWER}),
            groups=groups_of(context, data_dir, case.tenant, reviewer),
        )
        moved = asyncio.run(transitions.move(case, command, actor))
    click.echo(f"{moved.id} is {moved.state.value}")


_reviewer = click.option("--as", "reviewer", required=True, metavar="USER", help="The reviewer who acts.")
_why = click.option("--reason", required=True, help="Code, ticket or few words; the audit log keeps it.")


@cases.command("claim")
@click.argument("case_id", metavar="ID")
@_reviewer
@_data_dir
@click.pass_context
def claim(context: click.Context, *, case_id: str, reviewer: str, data_dir: Path | None) -> None:
    """Take a case for review, for as long as the settings say."""
    lease = timedelta(seconds=context.obj["settings"].cases.lease_s)
    _act(context, case_id, Claim(lease), reviewer, data_dir)


@cases.command("release")
@click.argument("case_id", metavar="ID")
@_reviewer
@_data_dir
@click.pass_context
def release(context: click.Context, *, case_id: str, reviewer: str, data_dir: Path | None) -> None:
    """Give a claimed case back to its queue."""
    _act(context, case_id, Release(), reviewer, data_dir)


@cases.command("approve")
@click.argument("case_id", metavar="ID")
@_reviewer
@_why
@_data_dir
@click.pass_context
def approve(context: click.Context, *, case_id: str, reviewer: str, reason: str, data_dir: Path | None) -> None:
    """Let a claimed case pass."""
    _act(context, case_id, Approve(reason), reviewer, data_dir)


@cases.command("refuse")
@click.argument("case_id", metavar="ID")
@_reviewer
@_why
@_data_dir
@click.pass_context
def refuse(context: click.Context, *, case_id: str, reviewer: str, reason: str, data_dir: Path | None) -> None:
    """Refuse a claimed case."""
    _act(context, case_id, Refuse(reason), reviewer, data_dir)


def _read_event(case: Case, reason: str) -> EventDraft:
    return EventDraft(
        type=EventType.BODY_READ,
        request=case.exchange,
        tenant=case.tenant,
        app=case.app,
        principal=f"os:{os.getuid()}",
        body={"case": case.id, "binding": case.binding, "reason": reason},
    )


def _print(case: Case, content: CaseContent | None, *, revealed: bool) -> None:
    console = Console()
    for name, value in msgspec.to_builtins(case).items():
        console.print(printable(f"{name:<12} {', '.join(value) if isinstance(value, list) else value}"))
    if not revealed:
        return
    if content is None:
        console.print("\nthe content was erased")
        return
    sections = [("question", content.question)]
    sections += [(f"passage {one.id}@{one.revision} {one.title}", one.text) for one in content.passages]
    sections.append(("held answer", content.candidate or "(none: the question itself was escalated)"))
    for title, text in sections:
        console.print()
        console.print(printable(title), style="bold")
        for line in text.splitlines():
            console.print(printable(line))


for _command in (seed, quality, capacity, post_reviews):
    cases.add_command(_command)
