"""What reviewers and requesters do with a case, with the texts that this brings. Every act is a transition."""

from collections.abc import Awaitable, Callable
from datetime import datetime, timedelta
from enum import StrEnum
from typing import Final, assert_never

from msgspec import Struct

from gateway.cases import machine
from gateway.cases.case import REVIEWER, Case, CaseContent, may_open
from gateway.cases.desk import EDIT, actor_of
from gateway.cases.machine import Actor, Command
from gateway.cases.store import CaseStore, CaseText
from gateway.cases.terms import rebound
from gateway.cases.transitions import Transitions
from gateway.domain.errors import RequestError
from gateway.domain.event import EventDraft, EventType
from gateway.domain.ports import AuditLog
from gateway.domain.principal import Principal

QUESTION: Final = "question"
REPLY: Final = "reply"
_MOST_CHARS: Final = 100_000
_TRIES: Final = 5


class Act(StrEnum):
    """What a person may do with a case, by the name in the route."""

    CLAIM = "claim"
    RELEASE = "release"
    APPROVE = "approve"
    EDIT = "edit"
    REFUSE = "refuse"
    ASK = "ask"
    REPLY = "reply"
    WITHDRAW = "withdraw"
    APPEAL = "appeal"
    BREAK_GLASS = "break-glass"
    UPHOLD = "uphold"  # another person has looked at a broken glass, and agrees
    CONTEST = "contest"  # … or does not


class CaseFile(Struct, frozen=True, kw_only=True):
    """All texts of a case: as it was opened, and what came later. `content` is `None` once it was erased."""

    content: CaseContent | None
    texts: list[CaseText]


JudgeEdit = Callable[[Case, CaseContent, str], Awaitable[tuple[str, ...]]]
"""The ids of the rules that stop an edited answer, of those that the case is not about; empty lets it pass."""


class CaseReview:
    """`key` is the 32-byte key for `Purpose.CASE_BINDING`; `lease` is how long a claim holds, `appeal` how long a
    decision can be appealed, `post_review` how soon a broken glass must be looked at. `clock` gives aware UTC."""

    def __init__(
        self,
        store: CaseStore,
        audit: AuditLog,
        transitions: Transitions,
        *,
        judge_edit: JudgeEdit,
        key: bytes,
        lease: timedelta,
        clock: Callable[[], datetime],
        appeal: timedelta = timedelta(days=7),
        post_review: timedelta = timedelta(days=1),
    ) -> None:
        self._store = store
        self._audit = audit
        self._transitions = transitions
        self._judge_edit = judge_edit
        self._key = key
        self._lease = lease
        self._clock = clock
        self._appeal = appeal
        self._post_review = post_review

    async def act(self, case: Case, act: Act, actor: Actor, *, reason: str = "", text: str = "") -> Case:
        """Do it: the case afterwards. `text` is the edited answer, the question or the reply. Raises `RequestError`
        with a stable code, and `GuardUnavailable`."""
        if len(text) > _MOST_CHARS:
            raise RequestError(f"a text has at most {_MOST_CHARS} characters", code="text_too_long", param="text")
        match act:
            case Act.EDIT:
                return await self._edit(case, actor, reason, text)
            case Act.ASK:
                return await self._with_text(case, machine.Ask(reason), actor, QUESTION, text)
            case Act.REPLY:
                binding = rebound(case.binding, ("reply", text), self._key)
                return await self._with_text(case, machine.Reply(binding), actor, REPLY, text)
            case _:
                return await self._transitions.move(case, self._command(act, reason), actor)

    async def open_file(self, case: Case, reader: Principal, *, reason: str) -> CaseFile:
        """All texts of a case, for a reviewer who says why; recorded before anything is opened. Raises
        `RequestError` (403)."""
        if not may_open(case, reader):
            raise RequestError("the content of this case is not for this key", code="content_forbidden", status=403)
        await self._audit.append(
            EventDraft(
                type=EventType.BODY_READ,
                request=case.exchange,
                tenant=case.tenant,
                app=case.app,
                principal=reader.ref,
                body={"case": case.id, "binding": case.binding, "reason": reason},
            )
        )
        await self._store.note_view(case.id, reader.ref, self._clock())
        return CaseFile(content=await self._store.sealed_content(case), texts=await self._store.texts(case))

    async def claim_next(self, reader: Principal, *, queue: str = "") -> Case | None:
        """Claim the earliest due case that this reviewer may decide, `None` if there is none. Reviewers who ask at the
        same moment get different cases. Raises `RequestError` (403) for somebody who is no reviewer."""
        if REVIEWER not in reader.roles:
            raise RequestError("only a reviewer may do this", code="reviewer_required", status=403)
        claim = machine.Claim(self._lease)
        for _ in range(_TRIES):
            now = self._clock()

            def eligible(case: Case, now: datetime = now) -> bool:
                if not may_open(case, reader):
                    return False
                return isinstance(machine.apply(case, claim, actor_of(case, reader, self._key), now), Case)

            case = await self._store.offer_next(reader.tenant, queue, now, eligible)
            if case is None:
                return None
            try:
                return await self._transitions.move(case, claim, actor_of(case, reader, self._key))
            except RequestError:  # somebody claimed it by its id meanwhile
                continue
        return None

    async def question(self, case: Case) -> str:
        """The question that waits for its requester, "" if there is none."""
        questions = [text.text for text in await self._store.texts(case) if text.kind == QUESTION]
        return questions[-1] if questions else ""

    def _command(self, act: Act, reason: str) -> Command:
        match act:
            case Act.CLAIM:
                return machine.Claim(self._lease)
            case Act.RELEASE:
                return machine.Release()
            case Act.APPROVE:
                return machine.Approve(reason)
            case Act.REFUSE:
                return machine.Refuse(reason)
            case Act.WITHDRAW:
                return machine.Withdraw()
            case Act.APPEAL:
                return machine.Appeal(reason, self._appeal)
            case Act.BREAK_GLASS:
                return machine.BreakGlass(reason, self._post_review)
            case Act.UPHOLD:
                return machine.PostReview(reason, upheld=True)
            case Act.CONTEST:
                return machine.PostReview(reason, upheld=False)
            case Act.EDIT | Act.ASK | Act.REPLY:
                raise AssertionError("acts that bring a text are made with it")
            case _:
                assert_never(act)

    async def _edit(self, case: Case, actor: Actor, reason: str, text: str) -> Case:
        content = await self._store.sealed_content(case)
        if content is None:
            raise RequestError("the content of the case was erased", code="case_erased", status=410)
        number = 1 + max((one.number for one in await self._store.texts(case) if one.kind == EDIT), default=0)
        command = machine.Edit(reason, number)
        if not text.strip():
            raise _no_text()
        self._transitions.check(case, command, actor)  # nothing is judged for somebody who may not edit
        rules = await self._judge_edit(case, content, text)
        if rules:
            message = f"the edited answer is stopped by {', '.join(f'`{rule}`' for rule in rules)}: change it"
            raise RequestError(message, code="edit_stopped", status=422, param="text")
        return await self._transitions.move(
            case, command, actor, texts=(CaseText(kind=EDIT, number=number, text=text),)
        )

    async def _with_text(self, case: Case, command: Command, actor: Actor, kind: str, text: str) -> Case:
        if not text.strip():
            raise _no_text()
        number = 1 + sum(one.kind == kind for one in await self._store.texts(case))
        return await self._transitions.move(
            case, command, actor, texts=(CaseText(kind=kind, number=number, text=text),)
        )


def _no_text() -> RequestError:
    return RequestError("give a `text`", code="text_required", param="text")
