"""Cases with a known right decision, written as YAML and put into the queues: how good is the review?

seeds:
  - name: loan-promise-1
    tenant: acme
    app: loan-assistant
    queue: credit
    rules: [CRD-001]
    expected: refuse
    question: Will I get the loan?
    candidate: Yes, certainly.
"""

import hashlib
from collections.abc import Callable
from datetime import datetime, timedelta
from typing import Annotated, Final, Literal

import msgspec
from msgspec import Meta, Struct

from gateway.cases.blind import drill_event
from gateway.cases.case import Case, CaseContent, CaseState, Course, SealedPassage
from gateway.cases.drill import Drill, DrillKind, drill_principal
from gateway.cases.store import CaseStore
from gateway.cases.terms import FETCH_WINDOW, person_of, rebound
from gateway.domain.errors import Fault, FaultsFound
from gateway.domain.ports import AuditLog
from gateway.domain.text import outline
from gateway.domain.vocabulary import Phase
from gateway.strict_yaml import load_document

_Name = Annotated[str, Meta(min_length=1, max_length=200)]
_MODEL: Final = "seed"


class SeedPassage(Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    title: _Name
    text: Annotated[str, Meta(min_length=1)]
    section: str = ""
    source: str = ""


class Seed(Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """One made-up case. A seed without `candidate` is about its question."""

    name: _Name
    tenant: _Name
    app: _Name
    queue: _Name
    rules: Annotated[tuple[_Name, ...], Meta(min_length=1)]
    expected: Literal["approve", "refuse"]
    question: Annotated[str, Meta(min_length=1)]
    candidate: str = ""
    passages: tuple[SeedPassage, ...] = ()
    sla_s: Annotated[int, Meta(ge=60)] = 4 * 3600

    def __repr__(self) -> str:
        return f"Seed({self.name!r}, {outline(self.question)})"


class SeedFile(Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    seeds: Annotated[tuple[Seed, ...], Meta(min_length=1)]


def read_seeds(text: str, file: str, *, known_rules: frozenset[str]) -> tuple[Seed, ...]:
    """Raises `FaultsFound` with all faults: of the form, rules that are not in force, and names that come twice."""
    faults: list[Fault] = []
    document = load_document(text, file, SeedFile, faults)
    if document is None or faults:
        raise FaultsFound(faults)
    seen: set[tuple[str, str]] = set()
    for seed in document.value.seeds:
        if (seed.tenant, seed.name) in seen:
            faults.append(document.node(seed, "name").fault("SEED001", "a second seed has this name: rename one"))
        seen.add((seed.tenant, seed.name))
        for index, rule in enumerate(seed.rules):
            if rule not in known_rules:
                faults.append(
                    document.node(seed, "rules", index).fault("SEED002", "no policy in force has this rule: correct it")
                )
    if faults:
        raise FaultsFound(faults)
    return document.value.seeds


class Seeding:
    """Puts seeds into their queues. `key` is that for `Purpose.CASE_BINDING`, `policy` the digest in force; `ids`
    gives unique ids of 32 hex digits."""

    def __init__(
        self,
        store: CaseStore,
        audit: AuditLog,
        *,
        key: bytes,
        policy: str,
        ids: Callable[[], str],
        clock: Callable[[], datetime],
    ) -> None:
        self._store = store
        self._audit = audit
        self._key = key
        self._policy = policy
        self._ids = ids
        self._clock = clock

    async def plant(self, seed: Seed) -> Case | None:
        """The new case; `None` if a seed of this name was planted before. Raises `GuardUnavailable`."""
        about = f"{seed.tenant}/{seed.name}"
        if await self._store.drill_about(DrillKind.SEED, about) is not None:
            return None
        case = self._case(seed)
        drill = Drill(case=case.id, kind=DrillKind.SEED, about=about, expected=seed.expected, at=case.opened)
        await self._audit.append(drill_event(case, drill))
        return case if await self._store.copy(case, _content(seed), drill) else None

    def _case(self, seed: Seed) -> Case:
        new_id, now = f"case_{self._ids()}", self._clock()
        binding = rebound("", ("seed", new_id), self._key)
        due = now + timedelta(seconds=seed.sla_s)
        person = person_of(seed.tenant, f"seed:{new_id}", self._key)
        return Case(
            id=new_id,
            state=CaseState.QUEUED,
            tenant=seed.tenant,
            app=seed.app,
            principal=drill_principal(new_id, self._key),
            exchange=self._ids(),
            phase=Phase.ANSWER if seed.candidate else Phase.QUERY,
            queue=seed.queue,
            approvals=1,
            rules=tuple(sorted(seed.rules)),
            policy=self._policy,
            opened=now,
            due=due,
            expires=due + FETCH_WINDOW,
            fingerprint=self._ids() + self._ids(),
            binding=binding,
            revision=1,
            course=Course(person=person, origin=binding, sla_s=seed.sla_s, whole=bool(seed.candidate)),
        )


def _content(seed: Seed) -> CaseContent:
    request = {"model": _MODEL, "messages": [{"role": "user", "content": seed.question}]}
    message = {"role": "assistant", "content": seed.candidate}
    completion = {"choices": [{"index": 0, "message": message, "finish_reason": "stop"}]}
    return CaseContent(
        question=seed.question,
        candidate=seed.candidate,
        passages=tuple(
            SealedPassage(
                id=f"{hashlib.sha256(passage.title.encode()).hexdigest()[:12]}#{number}",
                revision="1",
                title=passage.title,
                section=passage.section,
                source=passage.source,
                text=passage.text,
            )
            for number, passage in enumerate(seed.passages)
        ),
        request=msgspec.json.encode(request).decode(),
        completion=msgspec.json.encode(completion).decode() if seed.candidate else "",
        fields={
            "principal.tenant": seed.tenant,
            "principal.app": seed.app,
            "principal.user": "",
            "principal.groups": (),
            "principal.roles": (),
            "request.route": "/v1/chat/completions",
            "request.model": _MODEL,
            "request.stream": False,
            "request.tools": (),
            "request.unscanned": (),
            "retrieval.status": "ok",
            "retrieval.passages": len(seed.passages),
        },
    )
