"""The forms in which a set of events leaves: JSON lines, CSV, Parquet, OCSF. Each is written as events come.

Lines of JSON are the bytes that were hashed. CSV is RFC 4180; a cell that a spreadsheet would take for a formula
(it begins with `=`, `+`, `-`, `@`, a tab or a carriage return) gets an apostrophe before it. Parquet has typed columns.
"""

import csv
import io
from collections.abc import Callable, Iterable
from datetime import datetime
from enum import StrEnum
from pathlib import Path
from typing import Any, BinaryIO, Final, assert_never

import msgspec

from gateway.audit.export_ocsf import ocsf_records
from gateway.audit.export_rows import COLUMNS, ExportRow, row_of
from gateway.audit.read import Event

_FORMULA_STARTS: Final = ("=", "+", "-", "@", "\t", "\r", "\n", "＝", "＋", "－", "＠")
_ROWS: Final = 5_000  # of a row group; some 15 MB of memory


class Form(StrEnum):
    JSONL = "jsonl"
    CSV = "csv"
    PARQUET = "parquet"
    OCSF = "ocsf"

    @property
    def file_name(self) -> str:
        """The file of a bundle that holds it."""
        return _FILE_NAMES[self]

    @property
    def media_type(self) -> str:
        return _MEDIA_TYPES[self]


_FILE_NAMES: Final = {
    Form.JSONL: "events.jsonl",
    Form.CSV: "events.csv",
    Form.PARQUET: "events.parquet",
    Form.OCSF: "events.ocsf.jsonl",
}
_MEDIA_TYPES: Final = {
    Form.JSONL: "application/x-ndjson",
    Form.CSV: "text/csv; charset=utf-8; header=present",
    Form.PARQUET: "application/vnd.apache.parquet",
    Form.OCSF: "application/x-ndjson",
}


def write_form(form: Form, events: Iterable[Event], out: BinaryIO) -> int:
    """Write all events, and return how many there were. Memory does not grow with their number."""
    match form:
        case Form.JSONL:
            return _each(events, lambda event: out.write(event.body + b"\n"))
        case Form.OCSF:
            return _each(events, lambda event: [out.write(_line(record)) for record in ocsf_records(event)])
        case Form.CSV:
            return _write_csv(events, out)
        case Form.PARQUET:
            return write_parquet((row_of(event) for event in events), out)
        case _:
            assert_never(form)


def safe_cell(value: Any) -> str:
    """A cell that no spreadsheet computes. Numbers and times are written plainly."""
    if value is None:
        return ""
    if isinstance(value, datetime):
        return value.isoformat()
    if isinstance(value, int):
        return str(value)
    text = " ".join(value) if isinstance(value, tuple) else str(value)
    return "'" + text if text.startswith(_FORMULA_STARTS) else text


def parquet_schema() -> Any:
    """Arrow types of the columns."""
    import pyarrow as pa

    types = {"seq": pa.int64(), "ts": pa.timestamp("us", tz="UTC")}
    types |= dict.fromkeys(("rules", "passages", "failed_detectors"), pa.list_(pa.string()))
    types |= dict.fromkeys(("tokens_in", "tokens_out", "took_us", "released_chars"), pa.int64())
    return pa.schema([(name, types.get(name, pa.string())) for name in COLUMNS])


def write_parquet(rows: Iterable[ExportRow], out: BinaryIO | Path) -> int:
    """Rows as Parquet, in groups of 5,000, compressed with Zstandard."""
    import pyarrow as pa
    from pyarrow import parquet

    schema, count, waiting = parquet_schema(), 0, []
    with parquet.ParquetWriter(out, schema, compression="zstd") as writer:
        for row in rows:
            waiting.append(msgspec.structs.asdict(row))
            count += 1
            if len(waiting) == _ROWS:
                writer.write_table(pa.Table.from_pylist(waiting, schema))
                waiting.clear()
        if waiting or not count:
            writer.write_table(pa.Table.from_pylist(waiting, schema))
    return count


def _write_csv(events: Iterable[Event], out: BinaryIO) -> int:
    text = io.TextIOWrapper(out, encoding="utf-8", newline="", write_through=True)
    try:
        writer = csv.writer(text, lineterminator="\r\n")
        writer.writerow(COLUMNS)
        return _each(events, lambda event: writer.writerow(map(safe_cell, msgspec.structs.astuple(row_of(event)))))
    finally:
        text.detach()  # the caller's file stays open


def _each(events: Iterable[Event], write: Callable[[Event], object]) -> int:
    count = 0
    for event in events:
        write(event)
        count += 1
    return count


def _line(record: dict[str, Any]) -> bytes:
    return msgspec.json.encode(record) + b"\n"
