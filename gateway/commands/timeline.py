"""Audit events for people: lists, and the timeline of one exchange."""

from collections.abc import Iterator, Sequence
from typing import Any, Final

from rich.console import Console
from rich.table import Column, Table
from rich.text import Text

from gateway.audit.entry import ENVELOPE, parse_timestamp
from gateway.audit.read import Event

_HASH_CHARS: Final = 12
_SECOND_COLUMN: Final = 24


def print_events(console: Console, events: Sequence[Event]) -> None:
    """One line an event."""
    table = Table("seq", "time", "type", "tenant/app", "request", "effect", "hash", box=None)
    for event in events:
        own = event.members
        table.add_row(
            str(event.seq),
            printable(own["ts"]),
            printable(own["type"]),
            printable(f"{own['tenant']}/{own['app']}" if own["tenant"] else ""),
            printable(own["request"]),
            printable(own.get("effect", "")),
            event.hash[:_HASH_CHARS],
        )
    console.print(table)


def print_timeline(console: Console, exchange: str, events: Sequence[Event]) -> None:
    """Each event of an exchange with all it holds: single values as lines, lists of objects as tables."""
    first = events[0].members
    console.print(printable(f"exchange {exchange}"), style="bold")
    console.print(
        printable(f"{first['tenant']}/{first['app']}, principal {first['principal'] or '-'}, log {first['log']}")
    )
    begun = parse_timestamp(first["ts"])
    for event in events:
        after = (parse_timestamp(event.members["ts"]) - begun).total_seconds()
        console.print()
        console.print(printable(f"{event.members['type']}  +{after:.3f} s  {event.members['ts']}"), style="bold")
        body = {name: value for name, value in event.members.items() if name not in ENVELOPE}
        for line in _lines("", body):
            console.print(line)
        console.print(printable(f"  event {event.seq}, id {event.members['id']}"), style="dim")
        console.print(printable(f"  hash sha256:{event.hash}"), style="dim")
        console.print(printable(f"  prev {event.members['prev']}"), style="dim")


def _lines(name: str, value: Any) -> Iterator[Text | Table]:
    """Depth first; `name` is the dotted place of the value."""
    if isinstance(value, dict) and not _is_leaf(value):
        for key, item in value.items():
            yield from _lines(f"{name}.{key}" if name else key, item)
    elif isinstance(value, list) and value and all(isinstance(item, dict) for item in value):
        yield from _table(name, value)
    else:
        yield printable(f"  {name:<{_SECOND_COLUMN}} {_short(value)}")


def _table(name: str, items: list[dict[str, Any]]) -> Iterator[Text | Table]:
    columns = [key for key in dict.fromkeys(key for item in items for key in item) if not _nested(items, key)]
    yield printable(f"  {name}")
    table = Table(*(Column(printable(column)) for column in columns), box=None, padding=(0, 1, 0, 4))
    for item in items:
        table.add_row(*(printable(_short(item.get(column, ""))) for column in columns))
    yield table
    for index, item in enumerate(items):
        for key, value in item.items():
            if key not in columns and value not in ([], {}):
                yield from _lines(f"{name}[{index}].{key}", value)


def _nested(items: list[dict[str, Any]], key: str) -> bool:
    return any(
        (isinstance(value, dict) and not _is_leaf(value))
        or (isinstance(value, list) and any(isinstance(part, dict) for part in value))
        for value in (item.get(key) for item in items)
    )


def _is_leaf(value: dict[str, Any]) -> bool:
    """Whether an object reads best as one word: a commitment, or a score in millionths."""
    return not value or set(value) in ({"c", "len_bucket"}, {"e6"})


def _short(value: Any) -> str:
    match value:
        case {"c": str(commitment), "len_bucket": int(size)}:
            return f"{commitment[: _HASH_CHARS + 2]}… (at most {size} bytes)"
        case {"e6": int(millionths)}:
            return f"{millionths / 1_000_000:.3f}"
        case bool():
            return "yes" if value else "no"
        case None | [] | {}:
            return "-"
        case list():
            return ", ".join(map(_short, value))
        case _:
            return str(value)


def printable(value: object) -> Text:
    """Never markup, and no control characters: names in a log may come from outside."""
    return Text("".join(char if char.isprintable() else "\N{REPLACEMENT CHARACTER}" for char in str(value)))
