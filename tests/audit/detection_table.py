"""Tampers with logs at random places and counts what `verify` notices: `make audit-table` writes the table.

Three verifiers look at each tampered log: one that has the log alone; one that also has the signer's public key and
the checkpoints beside the log, as the attacker left them; one that also has the checkpoint which a witness cosigned
last. A log counts as caught when the first does not end in `verified-unanchored`, the others not in
`verified-anchored`; a clock step is caught when it is reported.
"""

import hashlib
import json
import random
import shutil
import sqlite3
import sys
import tempfile
from collections.abc import Callable
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any, Final

from msgspec import Struct

from gateway.audit import database
from gateway.audit.anchoring import NOBODY, Trust
from gateway.audit.canonical import canonical
from gateway.audit.checkpoint import Checkpoint, SignedCheckpoint, cosign, sign_checkpoint
from gateway.audit.checkpoint_folder import folder_of
from gateway.audit.entry import EMPTY, chain, leaf_hash, prepare
from gateway.audit.merkle import CompactRange
from gateway.audit.note import KeyType, SigningKey
from gateway.audit.verify import Outcome, Verification, verify_log
from gateway.domain.event import Commitment, EventDraft, EventType

PLACEMENTS: Final = 60
EXCHANGES: Final = 40
EVERY: Final = 10  # events a checkpoint
TARGET: Final = Path(__file__).parents[2] / "gateway" / "audit" / "DETECTION.md"
LOG: Final = "gateway.example/node-1"
KEY: Final = SigningKey(LOG, KeyType.NOTE, bytes(range(32)))
WITNESS: Final = SigningKey("witness.example/w1", KeyType.COSIGNATURE, bytes(range(1, 33)))
START: Final = datetime(2026, 11, 24, 10, 0, tzinfo=UTC)
SIGNER_ONLY: Final = Trust(log_keys=(KEY.verifier,))
BOTH: Final = Trust(log_keys=(KEY.verifier,), witness_keys=(WITNESS.verifier,))
COLUMNS: Final = ("seq", "id", "type", "ts", "request", "tenant", "app", "hash", "body")

Row = dict[str, Any]
Rows = list[Row]
Clock = Callable[[int], datetime]


class Mutation(Struct, frozen=True):
    """`tamper` changes the true log in a folder of its own, at a place that `chance` decides."""

    name: str
    who: str
    tamper: Callable[[Path, random.Random], None]
    reported: Callable[[Verification], bool] = lambda result: False


def on_time(number: int) -> datetime:
    return START + timedelta(seconds=number)


def write_log(folder: Path, *, exchanges: int = EXCHANGES, clock: Clock = on_time, version: str = "") -> None:
    """A log of whole exchanges of two tenants, with a cosigned checkpoint for every ten events and for the last."""
    folder.mkdir(parents=True, exist_ok=True)
    drafts = [EventDraft(type=EventType.LOG_BOOT, body={"after_seq": 0, "checked": 0})]
    for number in range(exchanges):
        about = {"request": f"r{number}", "tenant": f"tenant-{number % 2}", "app": "loans", "principal": "p:1"}
        drafts.append(EventDraft(type=EventType.INTENT, **about, body={"query": Commitment(text=f"{version}{number}")}))
        drafts.append(EventDraft(type=EventType.OUTCOME, **about, body={"effect": "allow", "score_e6": 700_000}))
    chance = random.Random(f"{version}{exchanges}")
    events, tip = [], EMPTY
    for number, draft in enumerate(drafts):
        entry = prepare(
            draft,
            log_name=LOG,
            boot="b",
            ids=lambda n=number: f"{version}id-{n:05d}",
            salts=lambda: chance.randbytes(32),
        )
        (event,) = chain([entry], tip, clock(number))
        tip = type(tip)(event.seq, event.hash, event.ts)
        events.append(event)
    db = database.open_writer(folder / "audit.db")
    db.execute("BEGIN IMMEDIATE")
    database.insert(db, events)
    db.execute("COMMIT")
    db.close()
    sign(folder)


def sign(folder: Path, *, witness: bool = True) -> SignedCheckpoint:
    """Checkpoints over the log as it is, in the place of those that were there; the last one."""
    tree, notes = CompactRange(), []
    bodies = [row["body"] for row in read_rows(folder / "audit.db")]
    for body in bodies:
        tree.append(leaf_hash(body))
        if tree.size % EVERY == 0 or tree.size == len(bodies):
            signed = sign_checkpoint(Checkpoint(LOG, tree.size, tree.root()), KEY)
            moment = int(on_time(tree.size).timestamp())
            notes.append(signed.with_signatures(cosign(signed.note.text, WITNESS, moment)) if witness else signed)
    checkpoints = folder_of(folder / "audit.db")
    checkpoints.path.mkdir(exist_ok=True)
    checkpoints.file.write_text("".join(json.dumps(str(note)) + "\n" for note in notes))
    return notes[-1]


def read_rows(path: Path) -> Rows:
    db = sqlite3.connect(path)
    rows = [dict(zip(COLUMNS, row, strict=True)) for row in db.execute(f"SELECT {','.join(COLUMNS)} FROM events")]
    db.close()
    return rows


def edit(folder: Path, change: Callable[[Rows], None], *, keyless: bool = False) -> None:
    """Change the stored rows; `keyless` takes the table's key away first."""
    path = folder / "audit.db"
    rows = read_rows(path)
    change(rows)
    db = sqlite3.connect(path)
    db.execute("DELETE FROM events")
    if keyless:
        db.execute("DROP TABLE events")
        db.execute(f"CREATE TABLE events ({','.join(COLUMNS)})")
    db.executemany("INSERT INTO events VALUES (?,?,?,?,?,?,?,?,?)", [tuple(row[c] for c in COLUMNS) for row in rows])
    db.commit()
    db.close()


def put(row: Row, event: dict[str, Any]) -> None:
    """Store an event with its columns and hash, as the log would."""
    row.update({column: event[column] for column in COLUMNS[:-2]})
    row["body"] = canonical(event)
    row["hash"] = hashlib.sha256(row["body"]).digest()


def rechain(rows: Rows, start: int) -> None:
    for index in range(start, len(rows)):
        prev = rows[index - 1]["hash"] if index else bytes(32)
        put(rows[index], {**json.loads(rows[index]["body"]), "seq": index + 1, "prev": f"sha256:{prev.hex()}"})


def outcome_at(rows: Rows, chance: random.Random) -> int:
    """The index of a random outcome that a checkpoint covers."""
    return chance.choice([index for index, row in enumerate(rows) if row["type"] == "outcome"])


def edit_bytes(folder: Path, chance: random.Random) -> None:
    def change(rows: Rows) -> None:
        row = rows[outcome_at(rows, chance)]
        row["body"] = row["body"].replace(b"700000", b"100000")

    edit(folder, change)


def delete(folder: Path, chance: random.Random) -> None:
    edit(folder, lambda rows: rows.__delitem__(chance.randrange(len(rows) - 1)))


def swap(folder: Path, chance: random.Random) -> None:
    def change(rows: Rows) -> None:
        one, other = chance.sample(range(len(rows)), 2)
        first, second = json.loads(rows[one]["body"]), json.loads(rows[other]["body"])
        put(rows[one], {**second, "seq": one + 1})
        put(rows[other], {**first, "seq": other + 1})

    edit(folder, change)


def insert(folder: Path, chance: random.Random) -> None:
    def change(rows: Rows) -> None:
        at = chance.randrange(1, len(rows))
        rows.insert(at, dict(rows[at]))
        for index in range(at, len(rows)):
            put(rows[index], {**json.loads(rows[index]["body"]), "seq": index + 1})

    edit(folder, change)


def forge(rows: Rows, chance: random.Random) -> None:
    index = outcome_at(rows, chance)
    put(rows[index], {**json.loads(rows[index]["body"]), "effect": "refuse"})
    rechain(rows, index)


def rechained(folder: Path, chance: random.Random) -> None:
    edit(folder, lambda rows: forge(rows, chance))


def torn(folder: Path, chance: random.Random) -> None:
    def change(rows: Rows) -> None:
        row = rows[-1]
        row["body"] = row["body"][: chance.randrange(1, len(row["body"]))]

    edit(folder, change)


def whole_exchanges(chance: random.Random) -> int:
    """How many events to keep, so that no exchange is cut in two."""
    return 1 + 2 * chance.randrange(EXCHANGES)


def truncated(folder: Path, chance: random.Random) -> None:
    edit(folder, lambda rows: rows.__delitem__(slice(whole_exchanges(chance), None)))


def resigned(folder: Path, chance: random.Random) -> None:
    rechained(folder, chance)
    sign(folder, witness=False)


def old_backup(folder: Path, chance: random.Random) -> None:
    """The whole folder as it was earlier, its checkpoints too."""
    truncated(folder, chance)
    sign(folder)


def duplicate(folder: Path, chance: random.Random) -> None:
    edit(folder, lambda rows: rows.append(dict(chance.choice(rows))), keyless=True)


def forked(folder: Path, chance: random.Random) -> None:
    """Another true-looking history from some exchange on, signed with the key, shown to this verifier alone."""

    def change(rows: Rows) -> None:
        at = whole_exchanges(chance)
        for index in range(at, len(rows)):
            put(rows[index], {**json.loads(rows[index]["body"]), "id": f"other-{index:05d}"})
        rechain(rows, at)

    edit(folder, change)
    sign(folder, witness=False)


def without_salts(folder: Path, chance: random.Random) -> None:
    db = sqlite3.connect(folder / "audit.db")
    (event_id,) = chance.choice(db.execute("SELECT event_id FROM salts").fetchall())
    db.execute("DELETE FROM salts WHERE event_id = ?", (event_id,))
    db.commit()
    db.close()


def stepped(folder: Path, chance: random.Random, step: timedelta) -> None:
    """A true log, written while the clock was set by `step` at some moment."""
    shutil.rmtree(folder)
    at = chance.randrange(1, 2 * EXCHANGES)
    write_log(folder, clock=lambda number: on_time(number) + (step if number >= at else timedelta()))


def spliced(folder: Path, chance: random.Random) -> None:
    """An exchange given to another tenant, and the chain computed anew."""

    def change(rows: Rows) -> None:
        index = outcome_at(rows, chance)
        for place in (index - 1, index):
            event = json.loads(rows[place]["body"])
            put(rows[place], {**event, "tenant": "tenant-0" if event["tenant"] == "tenant-1" else "tenant-1"})
        rechain(rows, index - 1)

    edit(folder, change)


def unsigned(folder: Path, chance: random.Random) -> None:
    """Changes an event that is newer than the last checkpoint beside the log and the last that the witness saw."""
    rows = read_rows(folder / "audit.db")
    edit(folder, lambda rows: rows.__delitem__(slice(1 + 2 * (EXCHANGES - 2), None)))
    sign(folder)
    edit(folder, lambda kept: kept.extend(rows[len(kept) :]))

    def change(rows: Rows) -> None:
        index = len(rows) - chance.choice([1, 3])
        put(rows[index], {**json.loads(rows[index]["body"]), "effect": "refuse"})
        rechain(rows, index)

    edit(folder, change)


STORAGE: Final = "who can write the files"
HOLDER: Final = "who holds the signing key"
MUTATIONS: Final = (
    Mutation("nothing: a true log", "nobody", lambda folder, chance: None),
    Mutation("edit an event", STORAGE, edit_bytes),
    Mutation("delete an event", STORAGE, delete),
    Mutation("swap two events", STORAGE, swap),
    Mutation("insert an event", STORAGE, insert),
    Mutation("edit and re-chain", STORAGE, rechained),
    Mutation("edit and re-chain what is not signed yet", STORAGE, unsigned),
    Mutation("torn last event", "a crash", torn),
    Mutation("cut off the tail", STORAGE, truncated),
    Mutation("duplicate a place", STORAGE, duplicate),
    Mutation("cross-tenant splice, re-chained", STORAGE, spliced),
    Mutation("restore an old backup, checkpoints too", STORAGE, old_backup),
    Mutation("edit, re-chain, re-sign with the key", HOLDER, resigned),
    Mutation("forked views, both signed", HOLDER, forked),
    Mutation("delete a salt", STORAGE, without_salts),
    Mutation(
        "clock set back an hour",
        "the machine",
        lambda folder, chance: stepped(folder, chance, timedelta(hours=-1)),
        lambda result: result.clock_steps > 0,
    ),
    Mutation(
        "clock set ahead an hour",
        "the machine",
        lambda folder, chance: stepped(folder, chance, timedelta(hours=1)),
        lambda result: result.clock_ahead_s > 0,
    ),
)


def caught(mutation: Mutation, folder: Path, witnessed: list[SignedCheckpoint]) -> tuple[bool, bool, bool]:
    """What each of the three verifiers notices."""
    path = folder / "audit.db"
    with_witness = verify_log(path, BOTH, witnessed)
    with_key = verify_log(path, SIGNER_ONLY)
    shutil.rmtree(folder_of(path).path)
    alone = verify_log(path, NOBODY)
    return (
        alone.outcome is not Outcome.VERIFIED_UNANCHORED or mutation.reported(alone),
        with_key.outcome is not Outcome.VERIFIED_ANCHORED or mutation.reported(with_key),
        with_witness.outcome is not Outcome.VERIFIED_ANCHORED or mutation.reported(with_witness),
    )


def count(mutation: Mutation, placements: int, root: Path) -> tuple[int, int, int]:
    """How many of so many random placements each verifier catches."""
    template = root / "true"
    if not template.exists():
        write_log(template)
    truth = list(folder_of(template / "audit.db").read())[-1]
    found = [0, 0, 0]
    for number in range(placements):
        folder = root / "tampered"
        shutil.copytree(template, folder)
        mutation.tamper(folder, random.Random(f"{mutation.name} {number}"))
        # The witness saw the true history, or of a true log whatever that log signed.
        fresh = mutation.who == "the machine" or mutation.tamper is unsigned
        for column, seen in enumerate(caught(mutation, folder, [] if fresh else [truth])):
            found[column] += seen
        shutil.rmtree(folder)
    return found[0], found[1], found[2]


def document(placements: int) -> str:
    with tempfile.TemporaryDirectory() as folder:
        rows = [
            f"| {mutation.name} | {mutation.who} | {' | '.join(map(str, count(mutation, placements, Path(folder))))} |"
            for mutation in MUTATIONS
        ]
    return f"""# What tampering is noticed

Written by `make audit-table`. Each mutation was made at {placements} random places of a log of
{1 + 2 * EXCHANGES} events with a checkpoint for every {EVERY}; the numbers are how many of the {placements}
tampered logs `gateway audit verify` told.

- *log alone*: nobody kept anything outside the log.
- *signed checkpoints*: the verifier has the signer's public key and the checkpoints as the attacker left them.
- *witness*: the verifier also has the checkpoint that a witness of another organisation cosigned last.

| mutation | who can | log alone | signed checkpoints | witness |
|---|---|---|---|---|
{chr(10).join(rows)}

A forger who computes the chain anew leaves a log that verifies by itself; a signature shows it, and against whoever
holds the key only what is kept elsewhere does. What is newer than the last checkpoint (10 events, or one second) is
covered by the chain alone. Salts are not part of the tree: destroying one is how text is erased, so a missing salt is
no finding, and its event still verifies. A clock that is ahead shows only beside a witness's clock.
"""


if __name__ == "__main__":
    TARGET.write_text(document(PLACEMENTS), encoding="utf-8")
    sys.stdout.write(f"{TARGET}\n")
