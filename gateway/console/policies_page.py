"""Policies: what is in force, how it is tested, what it did, what a candidate would change, and why."""

from collections.abc import Mapping
from typing import Any, Final

from litestar import Controller, Response, get, post
from litestar.params import FromPath

from gateway.audit.export_event import read
from gateway.audit.read import Event, Filter
from gateway.console.caller import Caller, caller_of, model_names
from gateway.console.evidence import condition_lines
from gateway.console.page import POLICIES, page, sentence
from gateway.console.parts import ConsoleRequest, Parts, blocking, parts_of, session_of
from gateway.console.policies_explain import MOST_CHARS, SPEAKERS, ExplainedSample, Sample, explain_sample, spoken
from gateway.console.policies_record import DAYS, PolicyRecord, policy_record
from gateway.console.policies_view import (
    exceptions_of,
    rule_coverage,
    rule_text,
    sets_of,
    visible_changes,
    visible_rules,
)
from gateway.console.roles import Role
from gateway.console.sessions import Session
from gateway.domain.errors import RequestError
from gateway.domain.vocabulary import Phase
from gateway.policy.bundle import Bundle
from gateway.policy.explain_recorded import explain_recording
from gateway.policy.recorded import recordings

_HERE: Final = "/policies"


class PoliciesPage(Controller):
    """`/policies`, for authors, auditors and admins; `/policies/explain` for authors."""

    path = _HERE
    opt = {"roles": POLICIES}

    @get()
    async def policies(self, request: ConsoleRequest) -> Response[Any]:
        """All sets that concern the person's tenants, with what the log says of their rules."""
        parts, session = parts_of(request), session_of(request)
        prepared, now = parts.workbench.prepared(), parts.clock()
        bundle, tenants = prepared.bundle, session.tenants
        candidate = await _candidate(parts)
        changes = await blocking(visible_changes, bundle, candidate, tenants) if candidate else ()
        return page(
            request,
            "policies.html",
            title="Policies",
            here=_HERE,
            bundle=bundle,
            state=parts.workbench.state(),
            approved_by=prepared.approved_by,
            sets=sets_of(bundle, tenants, now.date()),
            coverage=await blocking(rule_coverage, bundle, now.date()),
            record=await _record(parts, session),
            days=DAYS,
            exceptions=exceptions_of(bundle, tenants, now),
            candidate=candidate,
            changes=changes,
            may_explain=Role.AUTHOR in session.roles,
        )

    @get("/rules/{rule:str}")
    async def rule(self, request: ConsoleRequest, rule: FromPath[str]) -> Response[Any]:
        """One rule: its text, tests, hits day by day, what people made of it."""
        parts, session = parts_of(request), session_of(request)
        prepared, now = parts.workbench.prepared(), parts.clock()
        bundle = prepared.bundle
        found = next((one for one in visible_rules(bundle, session.tenants) if one.id == rule), None)
        if found is None:
            raise RequestError("there is no such rule", code="rule_not_found", status=404)
        source = next(one for one in bundle.sources if one.set.metadata.id == found.set_id)
        record = await _record(parts, session)
        return page(
            request,
            "policies_rule.html",
            title=found.id,
            here=_HERE,
            rule=found,
            set=source.set,
            text=rule_text(source, found.id, prepared.reading.edition.files),
            condition=tuple(condition_lines(found.condition)),
            coverage=(await blocking(rule_coverage, bundle, now.date())).get(found.id),
            trials=[trial for trial in bundle.trials if trial.rule == found.id],
            record=record,
            own=record.of(found.id),
            days=DAYS,
            exceptions=[one for one in exceptions_of(bundle, session.tenants, now) if one.rule == found.id],
        )

    @get("/event")
    async def event(self, request: ConsoleRequest) -> Response[Any]:
        """A recorded exchange, judged again by the policies in force: every rule, every atom."""
        parts, session = parts_of(request), session_of(request)
        asked = str(request.query_params.get("id", "")).strip()
        bundle = parts.workbench.prepared().bundle
        events = await _exchange(parts, session, asked) if asked else []
        found = [
            (one, judgement, spoken(judgement.explanation) if judgement.explanation else None)
            for one in recordings(event.members for event in events)
            for judgement in explain_recording(bundle, one)
        ]
        return page(
            request,
            "policies_event.html",
            title="A recorded exchange",
            here=_HERE,
            asked=asked,
            found=found,
            status=404 if asked and not found else 200,
        )

    @get("/explain", opt={"roles": frozenset({Role.AUTHOR})})
    async def explain(self, request: ConsoleRequest) -> Response[Any]:
        parts, session = parts_of(request), session_of(request)
        caller = caller_of({}, parts, session)
        return await _explain_page(request, Sample(text="", phase=Phase.QUERY, caller=caller))

    @post("/explain", status_code=200, opt={"roles": frozenset({Role.AUTHOR})})
    async def explain_text(self, request: ConsoleRequest) -> Response[Any]:
        """Run the detectors over a text. It is shown to whoever typed it, and kept nowhere."""
        parts, session = parts_of(request), session_of(request)
        form = await request.form()
        candidate = form.get("policy") == "candidate"
        try:
            sample = _sample(form, parts, session)
        except RequestError as error:
            if error.status == 404:
                raise
            typed = Sample(text=str(form.get("text", ""))[:MOST_CHARS], phase=Phase.QUERY, caller=_typed(form, session))
            return await _explain_page(request, typed, told=sentence(error.message), status=400)
        rulebook = await parts.workbench.candidate() if candidate else parts.workbench.prepared().rulebook
        if rulebook is None:
            return await _explain_page(request, sample, told="There is no candidate any more.", status=409)
        found = await explain_sample(
            rulebook,
            sample,
            user=session.account,
            timeout_s=parts.settings.inspection.timeout_s,
            now=parts.clock(),
        )
        return await _explain_page(request, sample, found=found, by_candidate=candidate)


async def _explain_page(
    request: ConsoleRequest,
    sample: Sample,
    *,
    found: ExplainedSample | None = None,
    by_candidate: bool = False,
    told: str = "",
    status: int = 200,
) -> Response[Any]:
    parts = parts_of(request)
    return page(
        request,
        "policies_explain.html",
        title="Explain a text",
        here=_HERE,
        status=status,
        sample=sample,
        found=found,
        by_candidate=by_candidate,
        told=told,
        phases=[phase.value for phase in SPEAKERS],
        models=model_names(parts),
        apps=sorted(parts.settings.apps),
        candidate=await _candidate(parts),
    )


async def _candidate(parts: Parts) -> Bundle | None:
    rulebook = await parts.workbench.candidate()
    return rulebook.policy if rulebook is not None and isinstance(rulebook.policy, Bundle) else None


async def _record(parts: Parts, session: Session) -> PolicyRecord:
    state = parts.workbench.state()
    return await blocking(policy_record, parts.workbench.log, session.tenants, state.candidate, parts.clock())


async def _exchange(parts: Parts, session: Session, asked: str) -> list[Event]:
    """The events of an exchange of the person's tenants. That they were read is recorded first."""
    tenant = session.tenants[0] if session.tenants else ""
    wanted = Filter(request=asked, tenants=frozenset(session.tenants))
    by = parts.principal(session, tenant)
    await parts.audit.append(read("exchange", wanted, by=by, via="console"))
    return [event for event in await parts.trace(asked) if event.members.get("tenant") in session.tenants]


def _sample(form: Mapping[str, Any], parts: Parts, session: Session) -> Sample:
    """Raises `RequestError`."""
    text = str(form.get("text", "")).replace("\r\n", "\n")  # browsers send line ends so
    phase = next((one for one in SPEAKERS if one.value == form.get("phase")), None)
    if phase is None:
        raise RequestError("choose which text it is", code="phase_unknown")
    if not text.strip() or len(text) > MOST_CHARS:
        raise RequestError(f"write a text of at most {MOST_CHARS} characters", code="text_length")
    return Sample(text=text, phase=phase, caller=caller_of(form, parts, session))


def _typed(form: Mapping[str, Any], session: Session) -> Caller:
    """What was typed, to be shown again."""
    return Caller(
        tenant=session.tenants[0] if session.tenants else "",
        app=str(form.get("app", "")),
        groups=(str(form.get("groups", "")),),
        model=str(form.get("model", "")),
    )
