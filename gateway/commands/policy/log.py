"""Where the tools of policies read past decisions: a log of the gateway, or an evidence bundle of one."""

import json
import zipfile
from collections.abc import Callable, Iterator, Mapping
from pathlib import Path
from typing import Any, Final, NoReturn

import click

from gateway.audit.read import AuditReader, Filter
from gateway.commands.policy.common import cannot_run
from gateway.domain.errors import AuditUnavailable, ConfigurationError
from gateway.policy.compiled import ALL_LEVELS, Levels
from gateway.policy.recorded import moment
from gateway.settings.folder import AUDIT_FILE

Events = Callable[[], Iterator[Mapping[str, Any]]]
"""Reads the events anew, in order of the log, one at a time."""

_BUNDLED: Final = "events.jsonl"

log_option = click.option(
    "--log",
    "log",
    type=click.Path(path_type=Path, exists=True),
    help="Data folder of a gateway, or its log. Default: the data folder of the settings.",
)
bundle_option = click.option(
    "--bundle",
    type=click.Path(path_type=Path, exists=True),
    help="Events of an export instead: an evidence bundle (folder or zip), or a file with an event a line.",
)


def events_of(context: click.Context, log: Path | None, bundle: Path | None, wanted: Filter) -> Events:
    """The events that fit, from wherever they are. What cannot be read ends the command, also while it is read."""
    if log is not None and bundle is not None:
        cannot_run("`--log` and `--bundle` exclude each other: name one")

    def read() -> Iterator[Mapping[str, Any]]:
        try:
            if bundle is not None:
                yield from (event for event in _exported(bundle) if _fits(event, wanted))
                return
            with AuditReader(_log_file(context, log)) as reader:
                yield from (event.members for event in reader.search(wanted))
        except (AuditUnavailable, ConfigurationError) as error:
            cannot_run(error.message)
        except (OSError, ValueError, zipfile.BadZipFile):
            cannot_run(f"`{bundle}` cannot be read: name an evidence bundle, or a file with an event a line")

    return read


def exchange_of(context: click.Context, log: Path | None, bundle: Path | None, name: str) -> list[Mapping[str, Any]]:
    """All events of the exchange with this id, or with an event of this id or place; ends the command if none."""
    if bundle is not None:
        every = events_of(context, log, bundle, Filter())
        named = (one for one in every() if name in {str(one.get(key)) for key in ("request", "id", "seq")})
        request = str(next(named, {}).get("request", ""))
        return list(events_of(context, log, bundle, Filter(request=request))()) if request else _nothing(name)
    try:
        with AuditReader(_log_file(context, log)) as reader:
            found = reader.find(name)
            request = str(found[0].members.get("request", "")) if found else ""
            return [event.members for event in reader.timeline(request)] or _nothing(name)
    except (AuditUnavailable, ConfigurationError) as error:
        cannot_run(error.message)


def _nothing(name: str) -> NoReturn:
    cannot_run(f"the log has no exchange with `{name}`: see `gateway audit search`")


def levels_in(context: click.Context) -> dict[str, Levels]:
    """How strict the settings make each app; every app as strict as can be where no settings are."""
    settings = context.obj.get("settings")
    apps = {} if settings is None else settings.apps
    levels = {name: Levels(enforce=app.enforce_level, observe=app.observe_level) for name, app in apps.items()}
    return {name: one for name, one in levels.items() if one != ALL_LEVELS}


def _log_file(context: click.Context, log: Path | None) -> Path:
    where: Path = context.obj["settings"].data_dir if log is None else log
    return where / AUDIT_FILE if where.is_dir() else where


def _exported(path: Path) -> Iterator[Mapping[str, Any]]:
    if path.is_dir():
        path = path / _BUNDLED
    if zipfile.is_zipfile(path):
        with zipfile.ZipFile(path) as archive, archive.open(_BUNDLED) as file:
            for line in file:
                yield _event(line)
        return
    with path.open("rb") as file:
        for line in file:
            if line.strip():
                yield _event(line)


def _event(line: bytes) -> Mapping[str, Any]:
    event = json.loads(line)
    if not isinstance(event, dict):
        raise ValueError("no event")  # noqa: TRY004 -- a file with the wrong content is what it is
    return event


def _fits(event: Mapping[str, Any], wanted: Filter) -> bool:
    at = moment(event)
    return (
        (wanted.since is None or at >= wanted.since)
        and (wanted.until is None or at < wanted.until)
        and wanted.holds(dict(event))
    )
