"""What the page of a case shows to one person at one moment."""

from datetime import datetime, timedelta
from typing import Final

from msgspec import Struct

from gateway.cases import machine
from gateway.cases.case import Case, CaseState, SealedPassage
from gateway.cases.desk import EDIT
from gateway.cases.drill import DrillKind
from gateway.cases.machine import Actor, Command, Refusal, is_leased
from gateway.cases.review import QUESTION, REPLY, Act, CaseFile
from gateway.cases.store import Step
from gateway.console.difference import Stretch, differences
from gateway.console.evidence import CaseEvidence, case_evidence
from gateway.console.held_answer import held_answer
from gateway.console.parts import Parts, blocking
from gateway.console.sessions import Session
from gateway.console.shown_text import ShownText, shown_text
from gateway.domain.vocabulary import Phase

FIRST_VIEWS: Final = {
    "may_pass": "It may be answered",
    "may_not_pass": "It should not be answered",
    "unsure": "I cannot say before I have seen the answer",
}
"""What a reviewer may think of question and rule before they see the answer."""

CODES: Final = {
    "approve": {
        "within_policy": "Within policy",
        "false_alarm": "The rule matched by mistake",
        "acceptable_risk": "Risk is acceptable here",
        "general_information": "General information only",
    },
    "refuse": {
        "against_policy": "Against policy",
        "needs_adviser": "Needs a qualified person",
        "not_supported": "Not supported by the passages",
        "personal_data": "Discloses personal data",
        "harmful": "Could harm the customer",
    },
    "ask": {"needs_information": "Needs information from the requester"},
    "look": {
        "was_right": "Was right to do",
        "was_not_needed": "Was not needed",
        "should_not_have": "Should not have been",
    },
    "break-glass": {"urgent_harm": "Waiting would do harm", "reviewers_absent": "No reviewer can be reached"},
}
"""Reason codes; each may be followed by a few words."""

_TO_COME: Final = machine.OPEN | {CaseState.APPEALED}
"""States from which somebody still decides."""

_SOON: Final = timedelta(days=1)

MASKED_READ: Final = "review with masked personal data"
"""The reason in the audit log when a page opens the sealed texts and hides personal data."""


class ShownPassage(Struct, frozen=True, kw_only=True):
    """A passage with its text as it may be shown; the text of `sealed` is not for pages."""

    sealed: SealedPassage
    text: ShownText


class ShownFile(Struct, frozen=True, kw_only=True):
    """The opened texts. `candidate` is `None` until the answer may be shown, and where there is none; `edit` is the
    version that the last vote is about, with what it changes."""

    question: ShownText
    passages: tuple[ShownPassage, ...]
    exchanged: tuple[tuple[str, ShownText], ...]
    candidate: ShownText | None
    answer: str  # the answer as it may be edited, "" if it may not
    edit: tuple[Stretch, ...]
    erased: bool = False
    masked: int = 0
    failed: bool = False  # personal data could not be looked for


class HistoryLine(Struct, frozen=True, kw_only=True):
    at: datetime
    command: str
    before: str
    after: str
    who: str
    reason: str


class CaseView(Struct, frozen=True, kw_only=True):
    """`acts` are those that would be accepted now. `file` is `None` while the texts are closed to this person.
    `unbiased` says that this person may come to decide the case and has not said yet what they think: they see neither
    the answer nor why others decided as they did."""

    case: Case
    evidence: CaseEvidence
    acts: frozenset[str]
    mine: bool
    held: bool
    own_request: bool
    barred: str
    unbiased: bool
    first_view: str
    unmasked: str
    file: ShownFile | None
    history: tuple[HistoryLine, ...]


async def view_case(parts: Parts, session: Session, case: Case) -> CaseView:
    """All that the page shows; the opening of sealed texts is recorded first. Raises `GuardUnavailable`."""
    now, actor = parts.clock(), parts.actor(case, session)
    held = is_leased(case, now)
    mine = held and case.course.holder == actor.person
    own = actor.requests or actor.person == case.course.person
    unmasked = await blocking(parts.sessions.unmasked, session, case.id, now=now)
    first_view = await _first_view(parts, session, case)
    barred = _barred(parts, case, actor, now)
    unbiased = case.state in _TO_COME and not (own or barred or first_view) and case.phase is not Phase.QUERY
    file = None
    if not own and (mine or unmasked):
        principal = parts.principal(session, case.tenant)
        opened = await parts.review.open_file(case, principal, reason=unmasked or MASKED_READ)
        file = await _shown_file(parts, case, opened, masked=not unmasked, show_answer=not unbiased)
    return CaseView(
        case=case,
        evidence=case_evidence(case, await parts.trace(await _exchange(parts, case)), parts.policy()),
        acts=allowed_acts(parts, case, actor, now),
        mine=mine,
        held=held,
        own_request=own,
        barred=barred,
        unbiased=unbiased,
        first_view=first_view,
        unmasked=unmasked,
        file=file,
        history=tuple(_line(case, step, actor, unbiased=unbiased) for step in await parts.store.history(case.id)),
    )


async def _exchange(parts: Parts, case: Case) -> str:
    """The exchange whose verdict the case is about. A blind review shows that of the case that it is about, so that
    nobody can tell the two apart."""
    drill = await parts.store.drill_of(case.id)
    about = await parts.store.find(drill.about) if drill is not None and drill.kind is DrillKind.BLIND else None
    return case.exchange if about is None else about.exchange


async def has_first_view(parts: Parts, session: Session, case: Case) -> bool:
    """Whether the person has said what they think before the answer; a case without one needs no such step."""
    return case.phase is Phase.QUERY or bool(await _first_view(parts, session, case))


async def _first_view(parts: Parts, session: Session, case: Case) -> str:
    sql = "SELECT view FROM first_views WHERE case_id = ? AND account = ?"
    row = await blocking(parts.db.one, sql, case.id, session.account)
    return str(row[0]) if row else ""


def allowed_acts(parts: Parts, case: Case, actor: Actor, now: datetime) -> frozenset[str]:
    """The acts that the state machine would accept from this person now."""
    commands: dict[Act, Command] = {
        Act.CLAIM: machine.Claim(parts.lease),
        Act.RELEASE: machine.Release(),
        Act.APPROVE: machine.Approve("reason"),
        Act.REFUSE: machine.Refuse("reason"),
        Act.EDIT: machine.Edit("reason", case.course.text + 1),
        Act.ASK: machine.Ask("reason"),
        Act.BREAK_GLASS: machine.BreakGlass("reason", _SOON),
        Act.UPHOLD: machine.PostReview("reason", upheld=True),
        Act.CONTEST: machine.PostReview("reason", upheld=False),
    }
    return frozenset(
        act.value
        for act, command in commands.items()
        if not isinstance(machine.apply(case, command, actor, now), Refusal)
    )


def _barred(parts: Parts, case: Case, actor: Actor, now: datetime) -> str:
    """Why this person may not claim the case, "" if they may or nobody may."""
    refused = machine.apply(case, machine.Claim(parts.lease), actor, now)
    return refused.message if isinstance(refused, Refusal) and refused.status == 403 else ""


async def _shown_file(parts: Parts, case: Case, file: CaseFile, *, masked: bool, show_answer: bool) -> ShownFile:
    content = file.content
    if content is None:
        none = ShownText()
        return ShownFile(question=none, passages=(), exchanged=(), candidate=None, answer="", edit=(), erased=True)
    exchanged = [one for one in file.texts if one.kind in (QUESTION, REPLY)]
    edit = next((one.text for one in file.texts if (one.kind, one.number) == (EDIT, case.course.text)), "")
    candidate, edit = (held_answer(content), edit) if show_answer else ("", "")
    passages = [one.text for one in content.passages]
    texts = [content.question, candidate, edit, *passages, *(one.text for one in exchanged)]
    found = await parts.find_personal(texts)
    question, shown_candidate, shown_edit, *others = (
        shown_text(text, None if found is None else found[index], masked=masked) for index, text in enumerate(texts)
    )
    latest = shown_edit if edit else shown_candidate
    whole = not (latest.masked or latest.withheld)  # who edits a masked answer would write the masks into it
    return ShownFile(
        question=question,
        passages=tuple(
            ShownPassage(sealed=sealed, text=text) for sealed, text in zip(content.passages, others, strict=False)
        ),
        exchanged=tuple((one.kind, text) for one, text in zip(exchanged, others[len(content.passages) :], strict=True)),
        candidate=shown_candidate if show_answer and case.phase is not Phase.QUERY else None,
        answer=(edit or content.candidate) if show_answer and whole else "",
        edit=differences(plain(shown_candidate), plain(shown_edit)) if edit else (),
        masked=sum(one.masked for one in (question, shown_candidate, shown_edit, *others)),
        failed=found is None,
    )


def plain(text: ShownText) -> str:
    """The text as it is shown, masked places as `[KIND]`."""
    return "".join(piece.text or f"[{piece.kind}]" for piece in text.pieces)


def _line(case: Case, step: Step, actor: Actor, *, unbiased: bool) -> HistoryLine:
    if step.person and step.person == actor.person:
        who = "you"
    elif step.actor == "gateway":
        who = "the gateway's clock"
    elif step.actor == case.principal:
        who = "the requester"
    else:
        who = f"reviewer {step.actor}"
    return HistoryLine(
        at=step.at,
        command=step.command.removeprefix("case."),
        before=step.before.value,
        after=step.after.value,
        who=who,
        reason="" if unbiased else step.reason,
    )
