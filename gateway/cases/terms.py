"""From an escalation to the terms of its case: who decides, until when, bound to what. Pure."""

import hashlib
from collections.abc import Iterable, Mapping
from datetime import UTC, datetime, timedelta
from typing import Final

from msgspec import Struct

from gateway.cases.case import Case, CaseContent, CaseState, Course, SealedPassage
from gateway.domain.case import CaseDraft

FETCH_WINDOW: Final = timedelta(days=7)
"""How long after its due time a decided case can be fetched."""


class Terms(Struct, frozen=True, kw_only=True):
    """The strictest of all escalations that a verdict asks for."""

    queue: str
    approvals: int
    due: datetime
    expires: datetime


def terms_of(draft: CaseDraft) -> Terms:
    """Earliest due, most approvals; the queue is that of the earliest due, ties go by name."""
    if not draft.escalations:
        raise ValueError("a case without an escalation has no queue")
    first = min(draft.escalations, key=lambda escalation: (escalation.sla_s, escalation.queue))
    due = draft.opened.astimezone(UTC) + timedelta(seconds=first.sla_s)
    return Terms(
        queue=first.queue,
        approvals=max(escalation.approvals for escalation in draft.escalations),
        due=due,
        expires=due + FETCH_WINDOW,
    )


def new_case(case_id: str, draft: CaseDraft, key: bytes, *, teams: Mapping[str, tuple[str, ...]] | None = None) -> Case:
    """The case in its first state. `key` (32 bytes) keys the binding, since answers can be short and guessable.
    `teams` gives the groups of a team's members; one that it does not know is the group of its name."""
    terms = terms_of(draft)
    binding = binding_of(draft, terms.expires, key)
    return Case(
        id=case_id,
        state=CaseState.QUEUED,
        tenant=draft.tenant,
        app=draft.app,
        principal=draft.principal,
        exchange=draft.exchange,
        phase=draft.phase,
        queue=terms.queue,
        approvals=terms.approvals,
        rules=draft.rules,
        policy=draft.policy,
        opened=draft.opened.astimezone(UTC),
        due=terms.due,
        expires=terms.expires,
        fingerprint=draft.fingerprint,
        binding=binding,
        revision=1,
        course=Course(
            person=person_of(draft.tenant, draft.user, key),
            origin=binding,
            sla_s=int((terms.due - draft.opened).total_seconds()),
            lifts=tuple(sorted(draft.lifts)),
            barred=barred_by(draft.authors, draft.tenant, key, teams or {}),
            whole=bool(draft.completion),
        ),
    )


def barred_by(authors: Iterable[str], tenant: str, key: bytes, teams: Mapping[str, tuple[str, ...]]) -> tuple[str, ...]:
    """Who does not review because these authors are theirs (`Course.barred`). An author is a user's name, with or
    without `user:`, or `team:` and a name."""
    found: set[str] = set()
    for author in authors:
        kind, _, name = author.rpartition(":")
        if kind == "team":
            found.update(f"group:{group}" for group in teams.get(name, (name,)))
        else:
            found.add(person_of(tenant, name if kind == "user" else author, key))
    return tuple(sorted(found))


def person_of(tenant: str, user: str, key: bytes) -> str:
    """A keyed digest of one human in one tenant, whichever app or key they come with."""
    return "u:" + _digest(["person", tenant, user], key)


def rebound(binding: str, parts: Iterable[str], key: bytes) -> str:
    """The binding after something it covers has changed: of the old one and what came new."""
    return "b:" + _digest(["rebound", binding, *parts], key)


def content_of(draft: CaseDraft) -> CaseContent:
    return CaseContent(
        question=draft.question,
        candidate=draft.candidate,
        passages=tuple(
            SealedPassage(
                id=passage.id,
                revision=passage.revision,
                title=passage.title,
                section=passage.section,
                source=passage.source,
                text=passage.text,
                access=tuple(sorted(passage.access)),
            )
            for passage in draft.passages
        ),
        request=draft.request,
        completion=draft.completion,
        fields={
            name: tuple(sorted(value)) if isinstance(value, frozenset) else value
            for name, value in draft.fields.items()
        },
    )


def binding_of(draft: CaseDraft, expires: datetime, key: bytes) -> str:
    """Keyed BLAKE2b (RFC 7693) over everything that an approval is for, each part with its length."""
    passages = sorted(f"{passage.id}@{passage.revision}" for passage in draft.passages)
    parts = [
        draft.tenant,
        draft.app,
        draft.principal,
        draft.fingerprint,
        draft.phase.value,
        draft.policy,
        expires.isoformat(),
        draft.candidate,
        draft.completion,
        str(len(passages)),
        *passages,
    ]
    return "b:" + _digest(parts, key)


def _digest(parts: Iterable[str], key: bytes) -> str:
    digest = hashlib.blake2b(key=key, digest_size=32, person=b"case-binding")
    for part in parts:
        content = part.encode("utf-8", "surrogatepass")
        digest.update(len(content).to_bytes(8, "big"))
        digest.update(content)
    return digest.hexdigest()
