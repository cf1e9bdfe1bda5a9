"""From a draft to a chained event: pure functions, so that the writer only orders and stores.

An event is canonical JSON. Whatever does not depend on its place in the log is encoded when it is appended; `prev`,
`seq` and `ts` are spliced in when it gets its place, inside the writer's transaction. Its hash is the SHA-256 of the
bytes; `prev` is the hash of the event before it.
"""

import hashlib
from collections.abc import Callable, Iterable
from datetime import UTC, datetime, timedelta
from typing import Any, Final

from msgspec import Struct

from gateway.audit.canonical import Path, encode_plain, plain, pointer
from gateway.audit.commitment import SALT_BYTES, commit
from gateway.audit.text_tag import TextTags
from gateway.domain.event import Commitment, EventDraft, EventType

VERSION: Final = 1
ENVELOPE: Final = frozenset(
    {"v", "log", "seq", "id", "type", "ts", "boot", "request", "tenant", "app", "principal", "prev"}
)
OF_EXCHANGES: Final = frozenset({EventType.INTENT, EventType.OUTCOME, EventType.STREAM_OPEN, EventType.STREAM_CLOSE})
"""Events that belong to one exchange and therefore name it."""

ENDS: Final = frozenset({EventType.OUTCOME, EventType.STREAM_CLOSE})
"""Every exchange that has an `intent` gets exactly one of these."""

BEHIND: Final = "ts_behind_us"
_MICROSECOND: Final = timedelta(microseconds=1)


class Salt(Struct, frozen=True):
    """The salt of one commitment; `path` is a JSON pointer into the event."""

    event_id: str
    path: str
    value: bytes

    def __repr__(self) -> str:
        return f"Salt({self.event_id!r}, {self.path!r})"


class Entry(Struct, frozen=True, kw_only=True):
    """An event that waits for its place: its columns, and its encoded members around `prev`, `seq` and `ts`."""

    id: str
    type: str
    request: str
    tenant: str
    app: str
    before_prev: bytes
    before_seq: bytes
    before_ts: bytes
    after_ts: bytes
    salts: tuple[Salt, ...] = ()


class Tip(Struct, frozen=True):
    """The last event of a log. `ts` is in the form of the events (`timestamp`), "" for an empty log."""

    seq: int
    hash: bytes
    ts: str


EMPTY: Final = Tip(0, bytes(32), "")


class Chained(Struct, frozen=True):
    """An event in its place. `hash` are the 32 bytes of the SHA-256 of `body`."""

    seq: int
    ts: str
    hash: bytes
    body: bytes
    entry: Entry


def prepare(
    draft: EventDraft,
    *,
    log_name: str,
    boot: str,
    ids: Callable[[], str],
    salts: Callable[[], bytes],
    tags: TextTags | None = None,
) -> Entry:
    """Encode a draft. `tags` let its texts be found again. Raises `TypeError` or `ValueError` for a body that is no
    event: a fault of our program."""
    check_body(draft.type, draft.request, draft.body)
    if draft.bodies:
        raise ValueError(f"an event `{draft.type}` brings texts that were not kept: keep them first")
    event_id = ids()
    kept: list[Salt] = []

    def replace(committed: Commitment, path: Path) -> dict[str, Any]:
        salt = salts()
        if len(salt) != SALT_BYTES:
            raise ValueError(f"a salt has {SALT_BYTES} bytes, not {len(salt)}")
        if tags is not None:
            salt = tags.tagged(salt, committed.text)
        kept.append(Salt(event_id, pointer(path), salt))
        return {**committed.members, **commit(committed.text, salt, event_id)}

    before_prev = {"app": draft.app, "boot": boot, "id": event_id, "log": log_name}
    before_seq = {"principal": draft.principal, "request": draft.request}
    before_ts = {"tenant": draft.tenant}
    after_ts = {"type": draft.type.value, "v": VERSION}
    for key, value in plain(draft.body, (), replace).items():
        if key in ENVELOPE or key.startswith("ts"):
            raise ValueError(f"an audit event body may not set `{key}`: the log does")
        # The names of the envelope are ASCII, so code points order them like UTF-16 code units.
        if key < "prev":
            before_prev[key] = value
        elif key < "seq":
            before_seq[key] = value
        elif key < "ts":
            before_ts[key] = value
        else:
            after_ts[key] = value
    return Entry(
        id=event_id,
        type=draft.type.value,
        request=draft.request,
        tenant=draft.tenant,
        app=draft.app,
        before_prev=encode_plain(before_prev)[:-1],
        before_seq=encode_plain(before_seq)[1:-1],
        before_ts=encode_plain(before_ts)[1:-1],
        after_ts=encode_plain(after_ts)[1:],
        salts=tuple(kept),
    )


def chain(entries: Iterable[Entry], tip: Tip, now: datetime) -> list[Chained]:
    """Give entries the places after `tip`, in order.

    INVARIANT: `ts` never decreases. A clock that stands behind the last event does not move time back: the event
    repeats the last `ts` and says in `ts_behind_us` by how much the clock was behind.
    """
    ts = timestamp(now)
    behind = b""
    if ts < tip.ts:
        behind = b'"%b":%d,' % (BEHIND.encode(), (parse_timestamp(tip.ts) - now) // _MICROSECOND)
        ts = tip.ts
    time = ts.encode()
    seq, prev = tip.seq, tip.hash
    chained = []
    for entry in entries:
        seq += 1
        body = b'%b,"prev":"sha256:%b",%b,"seq":%d,%b,"ts":"%b",%b%b' % (
            entry.before_prev,
            prev.hex().encode(),
            entry.before_seq,
            seq,
            entry.before_ts,
            time,
            behind,
            entry.after_ts,
        )
        prev = hashlib.sha256(body).digest()
        chained.append(Chained(seq, ts, prev, body, entry))
    return chained


def leaf_hash(body: bytes) -> bytes:
    """The hash of an event as a leaf of a Merkle tree (RFC 6962 section 2.1)."""
    return hashlib.sha256(b"\x00" + body).digest()


def check_body(event_type: str, request: str, body: dict[str, Any]) -> None:
    """What an event of this type must hold, for writers and verifiers alike; `ValueError` says what is missing."""
    if event_type in OF_EXCHANGES and not request:
        raise ValueError(f"an event `{event_type}` names no request")
    if event_type == EventType.OUTCOME and not (isinstance(body.get("effect"), str) and body["effect"]):
        raise ValueError("an event `outcome` holds no effect")


def timestamp(moment: datetime) -> str:
    """UTC with microseconds, always 27 characters, so that text order is time order."""
    return moment.astimezone(UTC).strftime("%Y-%m-%dT%H:%M:%S.%fZ")


def parse_timestamp(text: str) -> datetime:
    """The inverse of `timestamp`; `ValueError` for any other form."""
    moment = datetime.fromisoformat(text)
    if moment.tzinfo is None or timestamp(moment) != text:
        raise ValueError("not a timestamp of the log")
    return moment
