"""What the gateway does by itself at fixed times, and the checks of it."""

from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from datetime import UTC, datetime
from pathlib import Path
from typing import Annotated, Any, Final, Literal

from cronsim import CronSim, CronSimError
from msgspec import Meta, Struct

from gateway.domain.errors import Fault
from gateway.strict_yaml import Document, quoted

_FIELDS: Final = 5
_ANY_MOMENT: Final = datetime(2024, 1, 1, tzinfo=UTC)
_DAY_S: Final = 86_400.0
_LEAST_CHARS: Final = 100


def _about(text: str) -> Meta:
    return Meta(description=text)


class ScheduleSettings(Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """One task and its times. A node runs it in one process at a time, beside the requests."""

    name: Annotated[
        str, Meta(pattern="^[a-z0-9][a-z0-9-]{0,39}$", description="the schedule's name; its last run is kept under it")
    ]
    cron: Annotated[
        str, _about("minute, hour, day of month, month and day of week, in UTC: `30 2 * * *` is 02:30 every day")
    ]
    task: Annotated[
        Literal["ingest", "drift", "index_build", "retention_purge"],
        _about("the commands `ingest`, `index drift`, `index build` and `audit retention --purge`"),
    ]
    jitter_s: Annotated[
        float,
        Meta(
            ge=0,
            le=3600,
            description="longest delay, drawn for each node and time; keep it shorter than the time between two runs",
        ),
    ] = 0.0
    catch_up: Annotated[
        bool, _about("whether times that passed while the gateway was down are made up for by one run at its start")
    ] = False
    timeout_s: Annotated[
        float, Meta(gt=0, le=_DAY_S, description="after so long a run is ended, and counts as failed")
    ] = 6 * 3600.0
    paths: Annotated[tuple[Path, ...], _about("for `ingest`, which needs them: folders and files of documents")] = ()
    tenant: Annotated[
        str, _about("for `ingest`: tenant of documents that name none; else whose questions `questions` are")
    ] = ""
    questions: Annotated[str, _about("for `drift` and `index_build`: file of questions with known documents")] = ""
    days: Annotated[int, Meta(ge=0, le=365, description="for `drift`: days of the window; 0 for the command's")] = 0
    embedder: Annotated[str, _about("for `index_build`: a name among `retrieval.embedders`, or `builtin`")] = ""
    chunker: Annotated[
        str,
        Meta(
            pattern="^(section|paragraph|window|semantic|row)?$",
            description="for `index_build`: `section`, `paragraph`, `window`, `semantic` or `row` to cut documents by; "
            "empty leaves it as it is",
        ),
    ] = ""
    target_chars: Annotated[
        int, Meta(ge=0, le=20_000, description="for `index_build`: longest passage, from 100; 0 leaves it as it is")
    ] = 0


_KEYS: Final[Mapping[str, frozenset[str]]] = {
    "ingest": frozenset({"paths", "tenant"}),
    "drift": frozenset({"questions", "tenant", "days"}),
    "index_build": frozenset({"questions", "tenant", "embedder", "chunker", "target_chars"}),
    "retention_purge": frozenset(),
}
"""The keys that a task understands."""


def schedule_faults(document: Document[Any], schedules: Sequence[ScheduleSettings]) -> Iterator[Fault]:
    """Expressions that are none or never come, and keys that a task lacks or does not know."""
    seen: Counter[str] = Counter()
    for schedule in schedules:
        seen[schedule.name] += 1
        if seen[schedule.name] == 2:
            yield document.node(schedule, "name").fault(
                "SET010", f"a second schedule is named {quoted(schedule.name)}: rename one of the two"
            )
        reason = _wrong(schedule.cron)
        if reason:
            yield document.node(schedule, "cron").fault(
                "SET028",
                f"{quoted(schedule.cron)} is no time to run at: {reason}: write minute, hour, day of month, month and "
                "day of week in UTC, `30 2 * * *`",
            )
        for key in sorted(frozenset().union(*_KEYS.values()) - _KEYS[schedule.task]):
            if getattr(schedule, key):
                yield document.node(schedule, key).fault("SET029", f"`task: {schedule.task}` has no `{key}`: remove it")
        if 0 < schedule.target_chars < _LEAST_CHARS:
            yield document.node(schedule, "target_chars").fault(
                "SET029", f"`target_chars` is below {_LEAST_CHARS}: raise it, or remove it"
            )
        lack = _lacking(schedule)
        if lack:
            yield document.node(schedule, "task").fault("SET029", f"`task: {schedule.task}` needs {lack}: add it")


def _wrong(cron: str) -> str:
    """Why an expression cannot be used, "" if it can."""
    if len(cron.split()) != _FIELDS:
        return f"it has {len(cron.split())} fields instead of {_FIELDS}"
    try:
        next(CronSim(cron, _ANY_MOMENT))
    except CronSimError as error:
        return str(error).lower()
    except StopIteration:
        return "it never comes"
    return ""


def _lacking(schedule: ScheduleSettings) -> str:
    match schedule.task:
        case "ingest" if not schedule.paths:
            return "`paths`"
        case "index_build" if not (schedule.embedder or schedule.chunker or schedule.target_chars):
            return "what is to be different, `embedder`, `chunker` or `target_chars`"
        case "index_build" | "drift" if schedule.questions and not schedule.tenant:
            return "the `tenant` whose questions they are"
    return ""
