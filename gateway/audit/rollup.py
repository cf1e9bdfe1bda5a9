"""A log over the logs of all nodes: it takes their signed checkpoints as its events, and tells of silence.

The roll-up is an audit log like any other, so `gateway signer`, witnesses, `verify` and `prove` work on it: one signed
root stands over all nodes. A node gives a sign of life at least every minute or so; one that gives no new checkpoint
for too long, and was not retired, is a finding. So is a checkpoint that does not extend the one before: it stays in
the roll-up as evidence, signed by the node itself.
"""

import http.client
from collections.abc import Callable, Iterable, Sequence
from datetime import datetime
from enum import StrEnum
from pathlib import Path
from typing import Any, Final
from urllib.parse import urlsplit

import msgspec
from msgspec import Struct

from gateway.audit.checkpoint import SignedCheckpoint
from gateway.audit.entry import parse_timestamp
from gateway.audit.note import MAX_NOTE_BYTES, NoteError, VerifierKey
from gateway.audit.proof import TlogProof
from gateway.audit.read import AuditReader, Filter
from gateway.domain.errors import ConfigurationError
from gateway.domain.event import EventDraft, EventType, Receipt

LATEST: Final = "latest"
RETIRED_EVENT: Final = "retired.json"
RETIRED_PROOF: Final = "retired.tlog-proof"
_TIMEOUT_S: Final = 5.0
_KINDS: Final = frozenset({EventType.LOG_CHECKPOINT.value, EventType.LOG_SILENT.value})


class Fit(StrEnum):
    """How a checkpoint stands to the one of the same node before it."""

    FIRST = "first"
    EXTENDS = "extends"
    SHRANK = "shrank"
    FORKED = "forked"  # the same size with another root


class Node(Struct, frozen=True, kw_only=True):
    """A node: the key of its signer, whose name is the origin of its checkpoints, and where these are: a folder, or
    the address of one. `retired` is a folder with the proof of its `log.retired`."""

    key: VerifierKey
    source: str
    retired: Path | None = None


class Finding(Struct, frozen=True):
    """What is wrong with a node, in words."""

    node: str
    what: str

    def __str__(self) -> str:
        return f"`{self.node}`: {self.what}"


class _Known(Struct):
    """What the roll-up holds of a node."""

    size: int = 0
    root: str = ""
    since: datetime | None = None  # of the last new checkpoint, by the clock of the roll-up
    silent: bool = False


class Rollup:
    """`append` writes to the roll-up's log, whose file is `log`. Used by one thread."""

    def __init__(
        self,
        log: Path,
        nodes: Sequence[Node],
        *,
        append: Callable[[EventDraft], Receipt],
        silence_s: float,
        clock: Callable[[], datetime],
    ) -> None:
        """Reads what the roll-up holds. Raises `AuditUnavailable`."""
        self._nodes = nodes
        self._append = append
        self._silence_s = silence_s
        self._clock = clock
        self._started = clock()
        self._known = {node.key.name: _Known() for node in nodes}
        with AuditReader(log) as reader:
            for event in reader.search(Filter(types=_KINDS)):
                self._learn(event.members)

    def step(self) -> list[Finding]:
        """Take in what the nodes have signed since, and tell what is wrong now. Raises `AuditUnavailable`."""
        found: list[Finding] = []
        for node in self._nodes:
            fault = self._take_in(node)
            found += [Finding(node.key.name, fault)] if fault else []
            if not is_retired(node):
                found += self._silence(node)
        return found

    def _take_in(self, node: Node) -> str:
        try:
            signed = _checkpoint(node)
        except (OSError, NoteError) as error:
            return f"no checkpoint of it can be read: {getattr(error, 'strerror', None) or error}"
        known, point = self._known[node.key.name], signed.checkpoint
        root = point.root.hex()
        if (point.size, root) == (known.size, known.root):
            return ""
        fit = _fit(known, point.size, root)
        body = {"origin": point.origin, "size": point.size, "root": root, "note": str(signed), "fit": fit.value}
        self._append(EventDraft(type=EventType.LOG_CHECKPOINT, body=body))
        if fit in (Fit.SHRANK, Fit.FORKED):
            return f"its checkpoint of {point.size} events does not extend that of {known.size}: {fit.value}"
        self._known[node.key.name] = _Known(point.size, root, self._clock())
        return ""

    def _silence(self, node: Node) -> Iterable[Finding]:
        known = self._known[node.key.name]
        silent_s = round((self._clock() - (known.since or self._started)).total_seconds())
        if silent_s <= self._silence_s:
            return
        if not known.silent:
            body = {"origin": node.key.name, "size": known.size, "silent_s": silent_s}
            self._append(EventDraft(type=EventType.LOG_SILENT, body=body))
            known.silent = True
        yield Finding(node.key.name, f"no new checkpoint for {silent_s} s, and no proof that it was retired")

    def _learn(self, event: dict[str, Any]) -> None:
        origin = str(event.get("origin"))
        if origin not in self._known:
            return
        if event["type"] == EventType.LOG_SILENT:
            self._known[origin].silent = True
        elif event["fit"] in (Fit.FIRST, Fit.EXTENDS):
            self._known[origin] = _Known(event["size"], event["root"], parse_timestamp(event["ts"]))


def is_retired(node: Node) -> bool:
    """Whether there is a proof that the node's own log says that it was taken out of service."""
    if node.retired is None:
        return False
    try:
        body = (node.retired / RETIRED_EVENT).read_bytes()
        proof = TlogProof.parse((node.retired / RETIRED_PROOF).read_bytes())
        event = msgspec.json.decode(body)
    except (OSError, NoteError, msgspec.DecodeError, UnicodeDecodeError):
        return False
    return (
        isinstance(event, dict)
        and event.get("type") == EventType.LOG_RETIRED
        and proof.signed.checkpoint.origin == node.key.name
        and proof.signed.is_signed_by(node.key)
        and proof.proves(body)
    )


def _fit(known: _Known, size: int, root: str) -> Fit:
    if not known.size:
        return Fit.FIRST
    if size == known.size and root != known.root:
        return Fit.FORKED
    return Fit.EXTENDS if size > known.size else Fit.SHRANK


def _checkpoint(node: Node) -> SignedCheckpoint:
    """Raises `OSError`, and `NoteError` for what the node's key did not sign."""
    content = _get(node.source) if "://" in node.source else _read(Path(node.source) / LATEST)
    signed = SignedCheckpoint.parse(content)
    if signed.checkpoint.origin != node.key.name or not signed.is_signed_by(node.key):
        raise NoteError("it is not signed by the key of the node")
    return signed


def _read(path: Path) -> bytes:
    with path.open("rb") as file:
        return file.read(MAX_NOTE_BYTES)


def _get(source: str) -> bytes:
    parts = urlsplit(source)
    if parts.scheme not in {"http", "https"} or not parts.hostname:
        raise ConfigurationError("the source of a node is a folder, or an http or https address")
    kind = http.client.HTTPSConnection if parts.scheme == "https" else http.client.HTTPConnection
    connection = kind(parts.hostname, parts.port, timeout=_TIMEOUT_S)
    try:
        connection.request("GET", f"{parts.path.rstrip('/')}/{LATEST}")
        answer = connection.getresponse()
        content = answer.read(MAX_NOTE_BYTES)
    except http.client.HTTPException as error:
        raise ConnectionError(f"no HTTP answer: {type(error).__name__}") from None
    finally:
        connection.close()
    if answer.status != http.client.OK:
        raise ConnectionError(f"it answered {answer.status}")
    return content
