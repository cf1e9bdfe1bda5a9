"""A complete gateway for a fictional bank in one folder: settings, index, and a key per role. Safe to repeat."""

import json
import shlex
from collections.abc import Callable, Sequence
from datetime import datetime
from pathlib import Path
from typing import Final

from msgspec import Struct

from gateway.domain.event import EventDraft, EventType
from gateway.identity.key_store import KeyStore
from gateway.strict_yaml import load

TENANT: Final = "larkfield"
LOG_NAME: Final = "gateway/demo/node-1"
CORPUS: Final = Path(__file__).parent / "corpus"
QUESTIONS: Final = Path(__file__).parent / "questions.yaml"
_LABEL: Final = "demo"

_SETTINGS: Final = """\
# The demo's settings; `gateway settings` explains every key. Delete this folder to start afresh.
data_dir: {data}
policies: {policies}
server: {{port: {port}}}
console: {{enabled: true}}
inspection: {{known_names: [Larkfield, Kestrel, Larkfield Online, Larkfield Mobile]}}
audit: {{log_name: {log_name}, checkpoint_key: {checkpoint_key}}}
"""


class Role(Struct, frozen=True, kw_only=True):
    """Someone who may ask: `name` is also the app and user of the key."""

    name: str
    groups: tuple[str, ...]
    about: str


ROLES: Final = (
    Role(name="customer", groups=(), about="sees public documents"),
    Role(name="colleague", groups=("staff",), about="sees internal documents too"),
    Role(name="fraud-officer", groups=("staff", "fraud"), about="sees the fraud team's documents too"),
)


class Example(Struct, frozen=True, kw_only=True):
    title: str
    command: str


class _Try(Struct, frozen=True, kw_only=True):
    id: str
    title: str
    groups: tuple[str, ...]
    ask: str
    expect: dict[str, str | list[str]]


class _Questions(Struct, frozen=True, kw_only=True, rename={"to_try": "try"}):
    version: int
    questions: list[dict[str, str | list[str]]]
    to_try: list[_Try]


def write_settings(folder: Path, *, policies: Sequence[Path], port: int, checkpoint_key: str = "") -> Path:
    """Write the settings file of the demo into its folder, which exists, and return its path."""
    file = folder / "gateway.yaml"
    text = _SETTINGS.format(
        data=json.dumps(str(folder)),
        policies=json.dumps([str(path) for path in policies]),
        port=port,
        log_name=LOG_NAME,
        checkpoint_key=json.dumps(checkpoint_key),
    )
    file.write_text(text, "utf-8")
    return file


def create_keys(store: KeyStore, record: Callable[[EventDraft], object], *, now: datetime) -> dict[str, str]:
    """A fresh key per role, by name; the demo's earlier keys are revoked, since nobody can read them again."""
    for known in store.list():
        if known.label == _LABEL and known.revoked is None:
            store.revoke(known.id, now=now)
            record(_changed(EventType.KEY_REVOKED, known.id, known.app))
    keys: dict[str, str] = {}
    for role in ROLES:
        created = store.create(tenant=TENANT, app=role.name, user=role.name, groups=role.groups, label=_LABEL, now=now)
        record(_changed(EventType.KEY_CREATED, created.record.id, role.name))
        keys[role.name] = created.key.reveal()
    return keys


def examples(url: str, key: str, *, gateway: str) -> list[Example]:
    """Commands to try, as a customer. `gateway` is how to call the command line with the demo's settings."""
    questions = {entry.id: entry for entry in _load_questions()}
    asked = ("answer-with-citations", "personal-data-redacted", "injection-refused", "advice-escalated")
    found = [Example(title=questions[name].title, command=_curl(url, key, questions[name].ask)) for name in asked]
    return [*found, Example(title="The audit record of the last answer", command=f"{gateway} audit show last")]


def _load_questions() -> list[_Try]:
    return load(QUESTIONS.read_text("utf-8"), QUESTIONS.name, _Questions).to_try


def _curl(url: str, key: str, ask: str) -> str:
    body = json.dumps(
        {"model": "extractive", "messages": [{"role": "user", "content": " ".join(ask.split())}]}, ensure_ascii=False
    )
    return (
        f"curl -s {url}/v1/chat/completions -H 'Authorization: Bearer {key}' "
        f"-H 'content-type: application/json' -d {shlex.quote(body)}"
    )


def _changed(kind: EventType, key_id: str, app: str) -> EventDraft:
    return EventDraft(type=kind, tenant=TENANT, app=app, body={"key": key_id})
