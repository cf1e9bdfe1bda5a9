"""Events of running the gateway: policies, keys, people, sources, the log itself, and what is read or destroyed."""

from typing import Annotated, Literal

from gateway.audit.schema.envelope import Envelope
from gateway.audit.schema.members import (
    Acknowledged,
    Committed,
    Count,
    Hash,
    NamedCheckpoint,
    Operator,
    PolicyChange,
    PolicyFault,
    PolicySource,
    about,
)


class PolicyActivated(Envelope, frozen=True, kw_only=True):
    """Policies came into force."""

    policy: Annotated[str, about("their digest")]
    edition: Annotated[str, about("digest of the files they were read from")] = ""
    rules: Annotated[Count, about("how many rules they are")]
    sources: Annotated[list[PolicySource], about("policy sets they come from")]
    cause: Annotated[str, about("why now")]
    approved_by: Annotated[list[str], about("who signed them")] = []
    previous: Annotated[str, about("digest of those before; empty where nothing changed")] = ""
    changed: Annotated[Count, about("how many differences to those before there are")] = 0
    changes: Annotated[list[PolicyChange], about("the first of them")] = []


class PolicyRejected(Envelope, frozen=True, kw_only=True):
    """Changed policy files did not come into force."""

    edition: Annotated[str, about("digest of the files")]
    policy: Annotated[str, about("digest of the policies that stay in force")]
    code: Annotated[str, about("why not")]
    faulty: Annotated[Count, about("how many faults the files have")]
    faults: Annotated[list[PolicyFault], about("the first of them")]


class KeyChanged(Envelope, frozen=True, kw_only=True):
    """An API key was made or revoked."""

    key: Annotated[str, about("public id of the key")]
    user: Annotated[Committed | None, about("whose it is")] = None
    label: Annotated[Committed | None, about("what it is for")] = None
    groups: Annotated[list[str], about("access groups")] = []
    roles: Annotated[list[str], about("roles in the gateway's own interfaces")] = []
    models: Annotated[list[str], about("models it may name; `*` for all")] = []
    requests_per_minute: Annotated[Count, about("its own rate, 0 for the configured one")] = 0
    expires: Annotated[str, about("when it ends; empty for never")] = ""


class ConsoleSignedIn(Envelope, frozen=True, kw_only=True):
    """Someone signed in to the console; written before the session opened."""

    account: Annotated[Committed, about("the account")]
    by: Annotated[str, about("`password` or `oidc`")]
    roles: Annotated[list[str], about("roles of the session")]
    tenants: Annotated[list[str], about("tenants that it may see")]


class ConsoleSignedOut(Envelope, frozen=True, kw_only=True):
    """A session of the console ended."""

    account: Annotated[Committed, about("the account")]


class ConsoleSignInFailed(Envelope, frozen=True, kw_only=True):
    """Somebody was not let in to the console."""

    account: Annotated[Committed, about("what was typed as the account")]
    code: Annotated[str, about("why not")]


class ConsoleAccountChanged(Envelope, frozen=True, kw_only=True):
    """An account of the console was made or changed."""

    change: Annotated[str, about("what was done")]
    account: Annotated[Committed, about("the account")]
    roles: Annotated[list[str], about("its roles from now on")]
    tenants: Annotated[list[str], about("the tenants that it may see from now on")]


class Ingested(Envelope, frozen=True, kw_only=True):
    """The index of a tenant changed."""

    store: Annotated[str, about("kind of store")]
    added: Annotated[Count, about("documents that are new")]
    changed: Annotated[Count, about("documents with new content")]
    unchanged: Annotated[Count, about("documents that stayed")]
    removed: Annotated[Count, about("documents that went")]
    faults: Annotated[Count, about("files that were left out because of a fault")] = 0
    passages: Annotated[Count, about("passages that were prepared")]
    withheld: Annotated[Count, about("passages among them that policies keep from everyone")] = 0
    redacted: Annotated[Count, about("passages among them that policies redacted")] = 0
    hidden_chars: Annotated[Count, about("characters that no reader sees and that were left out")] = 0
    embedder: Annotated[str, about("embedding model and version")]
    chunker: Annotated[str, about("layout of passages; each names what cut it")]
    run: Annotated[str, about("id of the ingest; records of documents name it")] = ""
    policy: Annotated[str, about("digest of the policies and detectors that judged the passages; empty for none")] = ""
    manifest: Annotated[str, about("digest of the documents and revisions that were indexed; empty for none")] = ""
    index_rev_before: Annotated[str, about("revision of the index before; empty for none")]
    index_rev: Annotated[str, about("revision of the index after")]


class SourceDeleted(Envelope, frozen=True, kw_only=True):
    """A document is taken out of the index for good; written before it goes."""

    doc: Annotated[str, about("id of the document")]
    rev: Annotated[str, about("its revision")]
    run: Annotated[str, about("the ingest that brought it")]
    passages: Annotated[Count, about("how many passages it had")]
    by: Annotated[Committed, about("who")]
    reason: Annotated[str, about("why")]


class SourceAllowed(Envelope, frozen=True, kw_only=True):
    """A deleted document may be ingested again."""

    doc: Annotated[str, about("id of the document")]
    by: Annotated[Committed, about("who")]
    reason: Annotated[str, about("why")]


class PassageReleased(Envelope, frozen=True, kw_only=True):
    """A human lets a passage be found that policies kept from everyone; written before it can be."""

    passage: Annotated[str, about("id of the passage")]
    rev: Annotated[str, about("revision of its document")]
    effect: Annotated[str, about("what the policies said")]
    rules: Annotated[list[str], about("rules whose stop is lifted for this text")]
    by: Annotated[Committed, about("who")]
    reason: Annotated[str, about("why")]


class PassageRead(Envelope, frozen=True, kw_only=True):
    """Someone opened a passage that policies keep from everyone; written before it was shown."""

    passage: Annotated[str, about("id of the passage")]
    rev: Annotated[str, about("revision of its document")]
    rules: Annotated[list[str], about("rules that stop it")]
    by: Annotated[Committed, about("who")]
    reason: Annotated[str, about("why")]


class AuditRead(Envelope, frozen=True, kw_only=True):
    """Someone reads the audit trail; written before anything is shown."""

    what: Annotated[str, about("kind of reading")]
    via: Annotated[str, about("which way")]
    filter: Annotated[dict[str, str], about("what was asked for, by condition")]
    text: Annotated[Committed | None, about("a text that was looked for")] = None


class Exported(Envelope, frozen=True, kw_only=True):
    """Events leave as a file or a bundle; written before the first byte."""

    form: Annotated[str, about("form of the file")]
    via: Annotated[str, about("which way")]
    bundle: Annotated[bool, about("whether proofs and the verifier go along")]
    filter: Annotated[dict[str, str], about("what was asked for, by condition")]


class BodyRead(Envelope, frozen=True, kw_only=True):
    """Someone opened a kept text of an exchange; written before it was shown."""

    event: Annotated[str, about("id of the event that names the text")]
    field: Annotated[str, about("which text of it")]
    key: Annotated[str, about("the data key it was encrypted with")]
    reason: Annotated[str, about("why")]


class Erased(Envelope, frozen=True, kw_only=True):
    """What one caller left in the trail is destroyed: before (`begun`) and after (`done`, `incomplete`). `principal`
    is who had it done."""

    erasure: Annotated[str, about("id of the erasure; its events share it")]
    stage: Annotated[Literal["begun", "done", "incomplete"], about("before, after, or after a part that failed")]
    subject: Annotated[str, about("pseudonym of the caller who is erased")]
    reason: Annotated[str, about("why: a code, a ticket or a few plain words")]
    keys: Annotated[list[str], about("data keys that are destroyed, and with them the texts")] = []
    exchanges: Annotated[Count, about("exchanges of the caller")] = 0
    acknowledged: Annotated[list[Acknowledged], about("what each place that could hold something answers")] = []


class HoldSet(Envelope, frozen=True, kw_only=True):
    """A legal hold: nothing it covers is erased or purged. `principal` is who set it."""

    hold: Annotated[str, about("id of the hold")]
    subject: Annotated[str, about("pseudonym of the caller it covers; empty for the whole tenant")]
    reason: Annotated[str, about("why: a code, a ticket or a few plain words")]
    person: Annotated[str, about("keyed digest of the person who set it")]


class HoldCleared(Envelope, frozen=True, kw_only=True):
    """A legal hold ended; `principal` is who cleared it, another person than who set it."""

    hold: Annotated[str, about("id of the hold")]
    subject: Annotated[str, about("pseudonym of the caller it covered; empty for the whole tenant")]
    reason: Annotated[str, about("why: a code, a ticket or a few plain words")]
    person: Annotated[str, about("keyed digest of the person who cleared it")]
    set_by: Annotated[str, about("keyed digest of the person who had set it")]


class Purged(Envelope, frozen=True, kw_only=True):
    """Texts whose time was over are destroyed: before (`begun`) and after."""

    purge: Annotated[str, about("id of the purge; its events share it")]
    stage: Annotated[Literal["begun", "done", "incomplete"], about("before, after, or after a part that failed")]
    before: Annotated[str, about("all of the app that is older than this")]
    days: Annotated[int, about("days that the app's class keeps", unit="days")]
    keys: Annotated[Count, about("data keys that are destroyed")]
    keys_digest: Annotated[Hash, about("SHA-256 of their ids, sorted, each followed by a line feed")]
    held: Annotated[Count, about("data keys that a legal hold keeps")]
    texts: Annotated[Count, about("encrypted texts that were deleted")] = 0
    salts: Annotated[Count, about("salts of commitments that were destroyed")] = 0


class ScheduleRun(Envelope, frozen=True, kw_only=True):
    """A task that the node does by itself at fixed times: before (`begun`) and after. What the task changes has events
    of its own."""

    schedule: Annotated[str, about("name of the schedule")]
    task: Annotated[str, about("what is done")]
    run: Annotated[str, about("id of the run; its two events share it")]
    stage: Annotated[
        Literal["begun", "done", "failed", "timed_out", "interrupted"],
        about("before; after; `interrupted` by a stop or crash of the node"),
    ]
    planned: Annotated[str, about("the time that the schedule names, in UTC")]
    exit: Annotated[int | None, about("exit code of the task, negative for a signal; none if it has none")] = None
    seconds: Annotated[Count, about("how long it ran", unit="seconds")] = 0


class KeysRotated(Envelope, frozen=True, kw_only=True):
    """Data keys were wrapped anew."""

    wrapped_by: Annotated[str, about("the wrapping key in use")]
    rotated: Annotated[Count, about("data keys that it now wraps")]
    failed: Annotated[Count, about("data keys that could not be unwrapped")]


class BrokenGlass(Envelope, frozen=True, kw_only=True):
    """Two people accepted a log that its last signed checkpoint does not fit."""

    operators: Annotated[list[Operator], about("who")]
    reason: Annotated[str, about("code of the reason")]
    checkpoint: Annotated[NamedCheckpoint, about("what is accepted as lost")]


class LogBoot(Envelope, frozen=True, kw_only=True):
    """A process began to append."""

    after_seq: Annotated[Count, about("place of the last event before")]
    checked: Annotated[Count, about("how many events were checked link by link")]


class LogRecovered(Envelope, frozen=True, kw_only=True):
    """Exchanges that a crash had cut off were given their outcome."""

    exchanges: Annotated[Count, about("how many")]
    first_seq: Annotated[int, about("place of the first of their intents")]
    last_seq: Annotated[int, about("place of the last of their intents")]


class LogStopped(Envelope, frozen=True, kw_only=True):
    """The writer gave up."""

    reason: Annotated[str, about("code")]
    unwritten: Annotated[Count, about("events that were lost with it; nobody was told that they are durable")]


class Retired(Envelope, frozen=True, kw_only=True):
    """The node is taken out of service: its silence from here on is no finding."""

    reason: Annotated[str, about("code of the reason")]


class NodeCheckpoint(Envelope, frozen=True, kw_only=True):
    """In a roll-up: a checkpoint that a node has signed."""

    origin: Annotated[str, about("the node's log")]
    size: Annotated[Count, about("events it covers")]
    root: Annotated[str, about("root of the tree, hex")]
    note: Annotated[str, about("the signed note as the node published it")]
    fit: Annotated[
        Literal["first", "extends", "shrank", "forked"],
        about("how it stands to the checkpoint of the same node before it; `forked`: same size, another root"),
    ]


class NodeSilent(Envelope, frozen=True, kw_only=True):
    """In a roll-up: a node that was not retired gave no new checkpoint for too long."""

    origin: Annotated[str, about("the node's log")]
    size: Annotated[Count, about("events that its last checkpoint covers; 0 if there was none")]
    silent_s: Annotated[Count, about("how long there was none", unit="seconds")]


class Heartbeat(Envelope, frozen=True, kw_only=True):
    """A node that has nothing else to say lives."""

    idle_s: Annotated[Count, about("how long ago the event before it was written", unit="seconds")] = 0
