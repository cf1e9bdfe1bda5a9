"""What the commands of `gateway audit` share: options, the log they mean, one line for a log that is unreadable."""

import sys
from collections.abc import Callable
from datetime import UTC, datetime
from functools import wraps
from pathlib import Path
from typing import Any

import click

from gateway.audit.read import Event, Filter
from gateway.audit.verify import COULD_NOT_RUN
from gateway.domain.errors import AuditUnavailable, ConfigurationError
from gateway.domain.event import EventType
from gateway.domain.vocabulary import Effect
from gateway.settings.folder import AUDIT_FILE

data_dir = click.option(
    "--data-dir", type=click.Path(path_type=Path), help="Folder of the log; that of the settings if not given."
)
text_or_json = click.option("--format", "form", type=click.Choice(["text", "json"]), default="text", show_default=True)


def reading(command: Callable[..., None]) -> Callable[..., None]:
    """Turn a log that cannot be read into one line and exit code 2."""

    @wraps(command)
    def guarded(*args: Any, **kwargs: Any) -> None:
        try:
            command(*args, **kwargs)
        except (AuditUnavailable, ConfigurationError) as error:
            click.echo(f"error: {error}", err=True)
            sys.exit(COULD_NOT_RUN)

    return guarded


def filters(command: Callable[..., None]) -> Callable[..., None]:
    options = [
        click.option("--request", default="", help="Id of an exchange."),
        click.option("--type", "types", multiple=True, type=click.Choice([kind.value for kind in EventType])),
        click.option("--tenant", default=""),
        click.option("--app", default=""),
        click.option("--principal", default="", help="Pseudonym of who acted, `p:…`."),
        click.option(
            "--effect",
            default="",
            type=click.Choice(["", *(effect.value for effect in Effect), "error"]),
            help="What an exchange ended with.",
        ),
        click.option("--rule", default="", help="Id of a rule that matched or failed."),
        click.option("--case", default="", help="Id of a case."),
        click.option(
            "--commitment", default="", help="Commitment to a question, an answer or a text of a case, `c:…`."
        ),
        click.option("--since", type=click.DateTime(), help="From this time on, in UTC."),
        click.option("--until", type=click.DateTime(), help="Before this time, in UTC."),
        click.option("--from-seq", type=click.IntRange(min=1), default=1),
        click.option("--to-seq", type=click.IntRange(min=1)),
    ]
    for option in reversed(options):
        command = option(command)
    return command


def log_path(context: click.Context, data_dir: Path | None) -> Path:
    folder: Path = context.obj["settings"].data_dir if data_dir is None else data_dir
    return folder / AUDIT_FILE


def filter_of(
    *,
    request: str,
    types: tuple[str, ...],
    tenant: str,
    app: str,
    principal: str,
    effect: str,
    rule: str,
    case: str,
    commitment: str,
    since: datetime | None,
    until: datetime | None,
    from_seq: int,
    to_seq: int | None,
) -> Filter:
    return Filter(
        request=request,
        types=frozenset(types),
        tenant=tenant,
        app=app,
        principal=principal,
        effect=effect,
        rule=rule,
        case=case,
        commitment=commitment,
        since=since and since.replace(tzinfo=UTC),
        until=until and until.replace(tzinfo=UTC),
        first=from_seq,
        last=to_seq,
    )


def as_json(event: Event) -> dict[str, Any]:
    return {"hash": event.hash, **event.members}
