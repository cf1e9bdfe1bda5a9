"""A schedule as arguments of our own command line."""

from typing import assert_never

from gateway.settings import ScheduleSettings


def arguments_of(schedule: ScheduleSettings) -> list[str]:
    """What stands after `gateway`."""
    match schedule.task:
        case "ingest":
            return ["ingest", *_option("--tenant", schedule.tenant), "--", *map(str, schedule.paths)]
        case "drift":
            days = _option("--since", str(schedule.days or ""))
            return ["index", "drift", *days, *_option("--canaries", schedule.questions), *_tenant(schedule)]
        case "index_build":
            options = (
                _option("--embedder", schedule.embedder),
                _option("--chunker", schedule.chunker),
                _option("--target-chars", str(schedule.target_chars or "")),
                _option("--questions", schedule.questions),
                _tenant(schedule),
                _option("--by", f"schedule {schedule.name}"),
            )
            return ["index", "build", *(word for option in options for word in option)]
        case "retention_purge":
            return ["audit", "retention", "--purge"]
        case _:
            assert_never(schedule.task)


def _option(name: str, value: str) -> list[str]:
    return [f"{name}={value}"] if value else []


def _tenant(schedule: ScheduleSettings) -> list[str]:
    return _option("--tenant", schedule.tenant)
