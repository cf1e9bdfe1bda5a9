"""The states of a case and what may move it. Pure: case, command, actor and clock in, new case or refusal out.

    QUEUED ─ claim ─ IN_REVIEW ─ approve, edit ─ [two approvals: AWAIT_SECOND ─ disagreement: ADJUDICATION] ─ APPROVED
    APPROVED ─ what it was given for still holds ─ RELEASABLE ─ deliver, once ─ DELIVERED ─ CLOSED

INVARIANT: no command of the clock leads to a state from which an answer can be delivered; every one that does is a
human's who is not the requester. Text leaves by `Deliver` alone, and only from RELEASABLE.
"""

from datetime import datetime, timedelta
from typing import Final, assert_never

from msgspec import Struct, structs

from gateway.cases.case import REVIEWER, Case, CaseState, Course, Vote
from gateway.domain.event import EventType
from gateway.domain.vocabulary import Phase

LEAD: Final = "admin"
"""The role that may break the glass."""

_POST_REVIEW: Final = timedelta(days=1)
_APPEAL: Final = timedelta(days=7)
_TO_DECIDE: Final = frozenset({CaseState.IN_REVIEW, CaseState.AWAIT_SECOND, CaseState.ADJUDICATION, CaseState.APPEALED})
OPEN: Final = frozenset({CaseState.QUEUED, CaseState.WAITING_INFO, *_TO_DECIDE} - {CaseState.APPEALED})
"""Not decided yet."""
_TIMED: Final = OPEN | {CaseState.APPEALED}
_OVER: Final = frozenset({CaseState.REFUSED, CaseState.DELIVERED, CaseState.UPHELD, CaseState.OVERTURNED})
_GRANTED: Final = frozenset({CaseState.APPROVED, CaseState.OVERTURNED, CaseState.RELEASABLE})


class Actor(Struct, frozen=True, kw_only=True):
    """Who moves a case. `requests` says that it is the case's requester, through the app it came from; `person` is
    the keyed digest of the human, `groups` are those they belong to."""

    person: str
    ref: str
    roles: frozenset[str] = frozenset()
    groups: frozenset[str] = frozenset()
    requests: bool = False
    clock: bool = False


CLOCK: Final = Actor(person="", ref="gateway", clock=True)


class Claim(Struct, frozen=True, tag="claim"):
    lease: timedelta


class Release(Struct, frozen=True, tag="release"):
    pass


class Approve(Struct, frozen=True, tag="approve"):
    reason: str


class Edit(Struct, frozen=True, tag="edit"):
    """The answer in other words, inspected before; `text` is its version, above all earlier ones."""

    reason: str
    text: int


class Refuse(Struct, frozen=True, tag="refuse"):
    reason: str


class Ask(Struct, frozen=True, tag="ask"):
    reason: str


class Reply(Struct, frozen=True, tag="reply"):
    binding: str


class Withdraw(Struct, frozen=True, tag="withdraw"):
    pass


class Appeal(Struct, frozen=True, tag="appeal"):
    """`window` is how long after the decision it may come."""

    reason: str
    window: timedelta = _APPEAL


class BreakGlass(Struct, frozen=True, tag="break_glass"):
    """`review` is how soon another person must look at it."""

    reason: str
    review: timedelta = _POST_REVIEW


class PostReview(Struct, frozen=True, tag="post_review"):
    """Another person has looked at a broken glass; one that is not `upheld` takes back what has not left yet."""

    reason: str
    upheld: bool


class LapseLease(Struct, frozen=True, tag="lapse"):
    pass


class Overdue(Struct, frozen=True, tag="overdue"):
    """`queue` is the next tier, "" if there is none."""

    queue: str = ""
    sla_s: int = 0


class Requeue(Struct, frozen=True, tag="requeue"):
    """What the approval was given for has changed: it is decided again, under what holds now."""

    reason: str
    policy: str
    fingerprint: str
    binding: str


class Confirm(Struct, frozen=True, tag="confirm"):
    """What the approval was given for still holds."""


class Deliver(Struct, frozen=True, tag="deliver"):
    exchange: str


class Close(Struct, frozen=True, tag="close"):
    pass


Command = (
    Claim
    | Release
    | Approve
    | Edit
    | Refuse
    | Ask
    | Reply
    | Withdraw
    | Appeal
    | BreakGlass
    | PostReview
    | LapseLease
    | Overdue
    | Requeue
    | Confirm
    | Deliver
    | Close
)


class Refusal(Struct, frozen=True, kw_only=True):
    """Why a command does not apply; `code` is stable. 403: the person may not; 409: the state does not fit."""

    code: str
    message: str
    status: int = 409


def apply(case: Case, command: Command, actor: Actor, now: datetime) -> Case | Refusal:  # noqa: PLR0912 -- one branch a command
    """The case after the command, its revision one higher, or why not. `now` is aware UTC."""
    match command:
        case Claim():
            return _not_a_reviewer(case, actor) or _claim(case, command, actor, now)
        case Release():
            return _not_the_holder(case, actor) or _released(case)
        case Approve():
            return _not_the_holder(case, actor) or _agree(case, actor, command.reason, case.course.text, now)
        case Edit():
            return _not_the_holder(case, actor) or _edit(case, command, actor, now)
        case Refuse():
            return _not_the_holder(case, actor) or _disagree(case, actor, command.reason, now)
        case Ask():
            return _ask(case, command, actor)
        case Reply():
            return _reply(case, command, actor)
        case Withdraw():
            return _withdraw(case, actor)
        case Appeal():
            return _appeal(case, command, actor, now)
        case BreakGlass():
            return _break_glass(case, command, actor, now)
        case PostReview():
            return _not_a_reviewer(case, actor) or _post_review(case, command, actor, now)
        case LapseLease():
            return _clock_only(actor) or _lapse(case, now)
        case Overdue():
            return _clock_only(actor) or _overdue(case, command, now)
        case Requeue():
            return _not_granted(case, actor, now) or _requeue(case, command, now)
        case Confirm():
            return _not_granted(case, actor, now) or _moved(case, CaseState.RELEASABLE)
        case Deliver():
            return _deliver(case, command, actor, now)
        case Close():
            return _clock_only(actor) or _close(case, now)
        case _:
            assert_never(command)


def event_of(command: Command) -> EventType:
    """What the audit log calls the transition."""
    return _EVENTS[type(command)]


def is_leased(case: Case, now: datetime) -> bool:
    leased = case.course.leased
    return bool(case.course.holder) and leased is not None and now < leased


def is_timed(case: Case) -> bool:
    """Whether the clock runs for somebody who must act."""
    return case.state in _TIMED


def _not_a_reviewer(case: Case, actor: Actor) -> Refusal | None:
    """Separation of duties: a reviewer is not the requester, nor an author of what stopped the request, nor one who
    has decided in this round before."""
    if REVIEWER not in actor.roles or not actor.person:
        return Refusal(code="reviewer_required", message="only a reviewer may do this", status=403)
    if actor.requests or actor.person == case.course.person:
        return Refusal(code="own_request", message="nobody reviews a request of their own", status=403)
    if is_barred(case, actor):
        return Refusal(
            code="own_rule", message="nobody reviews what a rule or exception of their own is about", status=403
        )
    earlier = (
        case.course.deciders if case.state is CaseState.APPEALED else tuple(vote.person for vote in case.course.votes)
    )
    if actor.person in earlier:
        return Refusal(
            code="second_person_required", message="you have decided this case before: another person must", status=403
        )
    return None


def is_barred(case: Case, actor: Actor) -> bool:
    """Whether a rule or exception that the case is about is the actor's, or their team's."""
    own = {actor.person, *(f"group:{name}" for name in actor.groups)}
    return not own.isdisjoint(case.course.barred)


def _claim(case: Case, command: Claim, actor: Actor, now: datetime) -> Case | Refusal:
    if case.state not in (CaseState.QUEUED, *_TO_DECIDE):
        return _unfit(case)
    if now >= case.expires:
        return _expired()
    if is_leased(case, now) and case.course.holder != actor.person:
        return Refusal(code="case_held", message="another reviewer has this case: take the next, or wait for its lease")
    state = CaseState.IN_REVIEW if case.state is CaseState.QUEUED else case.state
    return _moved(case, state, holder=actor.person, leased=now + command.lease)


def _not_the_holder(case: Case, actor: Actor) -> Refusal | None:
    refusal = _not_a_reviewer(case, actor)
    if refusal is not None:
        return refusal
    if case.state not in _TO_DECIDE:
        return _unfit(case)
    if case.course.holder != actor.person:
        return Refusal(code="claim_required", message="claim the case first")
    return None


def _released(case: Case) -> Case:
    return _moved(case, _unheld(case.state), holder="", leased=None)


def _unheld(state: CaseState) -> CaseState:
    return CaseState.QUEUED if state is CaseState.IN_REVIEW else state


def _agree(case: Case, actor: Actor, reason: str, text: int, now: datetime) -> Case | Refusal:
    if now >= case.expires:
        return _expired()
    if not reason:
        return _no_reason()
    if not _is_kept(case):
        return Refusal(
            code="case_not_approvable",
            message="the held tool call was not kept by the gateway of then: refuse the case",
        )
    vote = Vote(person=actor.person, agrees=True, reason=reason, text=text)
    votes = (*case.course.votes, vote)
    match case.state:
        case CaseState.ADJUDICATION:
            state = CaseState.APPROVED
        case CaseState.APPEALED if case.course.appealed is CaseState.DELIVERED:
            state = CaseState.UPHELD
        case CaseState.APPEALED:
            state = CaseState.OVERTURNED if case.approvals <= 1 else CaseState.AWAIT_SECOND
            votes = (vote,)
        case _:
            agreeing = {one.person for one in votes if one.agrees and one.text == text}
            state = CaseState.APPROVED if len(agreeing) >= case.approvals else CaseState.AWAIT_SECOND
    return _decided(case, state, votes, now)


def _is_kept(case: Case) -> bool:
    """Whether there is something to deliver: older gateways kept no tool calls."""
    return case.phase is not Phase.TOOL_CALL or case.course.whole


def _edit(case: Case, command: Edit, actor: Actor, now: datetime) -> Case | Refusal:
    if case.phase is not Phase.ANSWER:
        return Refusal(code="case_has_no_answer", message="this case holds a question: there is no answer to edit")
    if case.state is CaseState.APPEALED:
        return Refusal(code="case_not_editable", message="an appeal is agreed to or refused, not edited")
    if command.text <= case.course.text:
        return Refusal(code="case_changed", message="the answer was edited meanwhile: read the case again")
    if now >= case.expires:
        return _expired()
    if not command.reason:
        return _no_reason()
    # Nobody has agreed to the new text yet but its author.
    vote = Vote(person=actor.person, agrees=True, reason=command.reason, text=command.text)
    state = CaseState.APPROVED if case.approvals <= 1 else CaseState.AWAIT_SECOND
    return _decided(case, state, (vote,), now)


def _disagree(case: Case, actor: Actor, reason: str, now: datetime) -> Case | Refusal:
    if not reason:
        return _no_reason()
    vote = Vote(person=actor.person, agrees=False, reason=reason, text=case.course.text)
    match case.state:
        case CaseState.AWAIT_SECOND:
            state = CaseState.ADJUDICATION
        case CaseState.APPEALED if case.course.appealed is CaseState.DELIVERED:
            state = CaseState.OVERTURNED
        case CaseState.APPEALED:
            state = CaseState.UPHELD
        case _:
            state = CaseState.REFUSED
    return _decided(case, state, (*case.course.votes, vote), now)


def _decided(case: Case, state: CaseState, votes: tuple[Vote, ...], now: datetime) -> Case:
    """The case after the last of the votes."""
    last = votes[-1]
    return _moved(
        case,
        state,
        holder="",
        leased=None,
        votes=votes,
        deciders=tuple(dict.fromkeys((*case.course.deciders, last.person))),
        reason=last.reason,
        text=last.text,
        decided=now,
    )


def _ask(case: Case, command: Ask, actor: Actor) -> Case | Refusal:
    refusal = _not_the_holder(case, actor)
    if refusal is not None:
        return refusal
    if case.state is not CaseState.IN_REVIEW:
        return _unfit(case)
    if not command.reason:
        return _no_reason()
    return _moved(case, CaseState.WAITING_INFO, holder="", leased=None, reason=command.reason)


def _reply(case: Case, command: Reply, actor: Actor) -> Case | Refusal:
    if not actor.requests:
        return _requester_only()
    if case.state is not CaseState.WAITING_INFO:
        return _unfit(case)
    return structs.replace(_moved(case, CaseState.QUEUED, votes=()), binding=command.binding)


def _withdraw(case: Case, actor: Actor) -> Case | Refusal:
    if not actor.requests:
        return _requester_only()
    if case.state not in OPEN:
        return _unfit(case)
    return _moved(case, CaseState.WITHDRAWN, holder="", leased=None)


def _appeal(case: Case, command: Appeal, actor: Actor, now: datetime) -> Case | Refusal:
    if not actor.requests:
        return _requester_only()
    if case.state not in (CaseState.REFUSED, CaseState.DELIVERED) or case.course.appealed is not None:
        return _unfit(case)
    if now >= case.expires:
        return _expired()
    if case.course.decided is not None and now >= case.course.decided + command.window:
        return Refusal(code="appeal_over", message="the time to appeal is over: send the request again", status=410)
    if not command.reason:
        return _no_reason()
    moved = _moved(case, CaseState.APPEALED, appealed=case.state, holder="", leased=None, votes=())
    return structs.replace(moved, due=min(now + timedelta(seconds=case.course.sla_s), case.expires))


def _break_glass(case: Case, command: BreakGlass, actor: Actor, now: datetime) -> Case | Refusal:
    if LEAD not in actor.roles or not actor.person:
        return Refusal(code="admin_required", message="only an admin may do this", status=403)
    if actor.requests or actor.person == case.course.person:
        return Refusal(code="own_request", message="nobody reviews a request of their own", status=403)
    if is_barred(case, actor):
        return Refusal(
            code="own_rule", message="nobody reviews what a rule or exception of their own is about", status=403
        )
    if case.state not in OPEN or not _is_kept(case):
        return _unfit(case)
    if now >= case.expires:
        return _expired()
    if not command.reason:
        return _no_reason()
    vote = Vote(person=actor.person, agrees=True, reason=command.reason, text=case.course.text)
    decided = _decided(case, CaseState.APPROVED, (vote,), now)
    course = structs.replace(decided.course, review_by=now + command.review, post_review="")
    return structs.replace(decided, course=course)


def _post_review(case: Case, command: PostReview, actor: Actor, now: datetime) -> Case | Refusal:
    if case.course.review_by is None or case.course.post_review:
        return _unfit(case)
    if actor.person in case.course.deciders:
        return Refusal(
            code="second_person_required", message="you have decided this case before: another person must", status=403
        )
    if not command.reason:
        return _no_reason()
    seen = _moved(case, case.state, post_review="upheld" if command.upheld else "contested")
    if command.upheld or case.state not in _GRANTED:
        return seen
    vote = Vote(person=actor.person, agrees=False, reason=command.reason, text=case.course.text)
    taken_back = _decided(case, CaseState.REFUSED, (*case.course.votes, vote), now)
    return structs.replace(taken_back, course=structs.replace(taken_back.course, post_review="contested"))


def _lapse(case: Case, now: datetime) -> Case | Refusal:
    if case.state not in _TO_DECIDE or not case.course.holder or is_leased(case, now):
        return _unfit(case)
    return _released(case)


def _overdue(case: Case, command: Overdue, now: datetime) -> Case | Refusal:
    """The next tier or the stricter end, never the looser: an appeal that nobody decides leaves all as it was."""
    if not is_timed(case) or now < case.due or is_leased(case, now):
        return _unfit(case)
    if case.state is CaseState.APPEALED:
        return _moved(case, CaseState.UPHELD, holder="", leased=None, reason="overdue")
    if not command.queue or now >= case.expires:
        return _moved(case, CaseState.REFUSED, holder="", leased=None, reason="overdue")
    state = CaseState.QUEUED if case.state is CaseState.IN_REVIEW else case.state
    moved = _moved(case, state, holder="", leased=None, tier=case.course.tier + 1)
    return structs.replace(moved, queue=command.queue, due=now + timedelta(seconds=command.sla_s))


def _not_granted(case: Case, actor: Actor, now: datetime) -> Refusal | None:
    if not actor.requests:
        return _requester_only()
    if case.state not in _GRANTED or not _is_deliverable(case):
        return _unfit(case)
    return _expired() if now >= case.expires else None


def _is_deliverable(case: Case) -> bool:
    """An answer that is out cannot be delivered again by overturning it."""
    return not (case.state is CaseState.OVERTURNED and case.course.appealed is CaseState.DELIVERED)


def _requeue(case: Case, command: Requeue, now: datetime) -> Case:
    moved = _moved(case, CaseState.QUEUED, votes=(), holder="", leased=None, reason=command.reason)
    return structs.replace(
        moved,
        policy=command.policy,
        fingerprint=command.fingerprint,
        binding=command.binding,
        due=min(now + timedelta(seconds=case.course.sla_s), case.expires),
    )


def _deliver(case: Case, command: Deliver, actor: Actor, now: datetime) -> Case | Refusal:
    if not actor.requests:
        return _requester_only()
    if case.state is not CaseState.RELEASABLE:
        return _unfit(case)
    if now >= case.expires:
        return _expired()
    return _moved(case, CaseState.DELIVERED, delivery=command.exchange, decided=now)


def _close(case: Case, now: datetime) -> Case | Refusal:
    if case.state not in (*_OVER, *_GRANTED) or now < case.expires:
        return _unfit(case)
    return _moved(case, CaseState.CLOSED, holder="", leased=None)


def _clock_only(actor: Actor) -> Refusal | None:
    return None if actor.clock else Refusal(code="clock_only", message="only the gateway's clock does this", status=403)


def _moved(case: Case, state: CaseState, **course: object) -> Case:
    changed: Course = structs.replace(case.course, **course)
    return structs.replace(case, state=state, revision=case.revision + 1, course=changed)


def _unfit(case: Case) -> Refusal:
    return Refusal(code="case_state", message=f"the case is `{case.state.value}`: this does not apply to it")


def _expired() -> Refusal:
    return Refusal(code="case_expired", message="the case has expired: send the request again", status=410)


def _no_reason() -> Refusal:
    return Refusal(code="reason_required", message="give a `reason`, a code or a few plain words", status=400)


def _requester_only() -> Refusal:
    return Refusal(code="requester_required", message="only the requester of the case may do this", status=403)


_EVENTS: Final[dict[type, EventType]] = {
    Claim: EventType.CASE_CLAIMED,
    Release: EventType.CASE_RELEASED,
    Approve: EventType.CASE_APPROVED,
    Edit: EventType.CASE_EDITED,
    Refuse: EventType.CASE_REFUSED,
    Ask: EventType.CASE_ASKED,
    Reply: EventType.CASE_REPLIED,
    Withdraw: EventType.CASE_WITHDRAWN,
    Appeal: EventType.CASE_APPEALED,
    BreakGlass: EventType.CASE_BREAK_GLASS,
    PostReview: EventType.CASE_POST_REVIEWED,
    LapseLease: EventType.CASE_RELEASED,
    Overdue: EventType.CASE_OVERDUE,
    Requeue: EventType.CASE_REQUEUED,
    Confirm: EventType.CASE_RELEASABLE,
    Deliver: EventType.CASE_DELIVERED,
    Close: EventType.CASE_CLOSED,
}
