"""Try it: a question goes the whole request path, and the page shows what each step did."""

from collections.abc import Mapping
from typing import Any, Final

from litestar import Controller, Response, get, post

from gateway.console.caller import Caller, caller_of, model_names, principal_as
from gateway.console.page import TRY_IT, page, sentence
from gateway.console.parts import ConsoleRequest, Parts, parts_of, session_of
from gateway.console.tryit_run import Trial, run_trial
from gateway.console.tryit_view import TrialView, view_trial
from gateway.domain.errors import RequestError
from gateway.exchange import Rulebook

_HERE: Final = "/try"
_MOST_CHARS: Final = 20_000


class TryItPage(Controller):
    """`/try`, for authors and admins."""

    path = _HERE
    opt = {"roles": TRY_IT}

    @get()
    async def form(self, request: ConsoleRequest) -> Response[Any]:
        parts, session = parts_of(request), session_of(request)
        return await _page(request, caller_of({"groups": " ".join(session.groups)}, parts, session))

    @post(status_code=200)
    async def run(self, request: ConsoleRequest) -> Response[Any]:
        """Run it. The texts are in the answer to this request and nowhere else."""
        parts, session = parts_of(request), session_of(request)
        form = await request.form()
        text = str(form.get("text", "")).replace("\r\n", "\n")  # browsers send line ends so
        caller = caller_of(form, parts, session)
        bench, by_candidate = parts.workbench, form.get("policy") == "candidate"
        rulebook = await _candidate(parts) if by_candidate else bench.prepared().rulebook
        if rulebook is None:
            return await _page(request, caller, form, told="There is no candidate to try.", status=409)
        if not text.strip() or len(text) > _MOST_CHARS:
            told = f"Write a question of at most {_MOST_CHARS} characters."
            return await _page(request, caller, form, told=told, status=400)
        try:
            principal = principal_as(caller, parts, session)
            trial = Trial(text=text, model=caller.model, principal=principal, real_case=form.get("case") == "real")
            async with bench.trials:
                found = await run_trial(bench, parts.settings, rulebook, trial)
        except RequestError as error:
            return await _page(request, caller, form, told=sentence(error.message), status=error.status)
        return await _page(request, caller, form, view=await view_trial(parts, trial, found))


async def _page(
    request: ConsoleRequest,
    caller: Caller,
    typed: Mapping[str, Any] | None = None,
    *,
    view: TrialView | None = None,
    told: str = "",
    status: int = 200,
) -> Response[Any]:
    parts, form = parts_of(request), typed or {}
    return page(
        request,
        "tryit.html",
        title="Try it",
        here=_HERE,
        status=status,
        told=told,
        text=str(form.get("text", ""))[:_MOST_CHARS],
        asker=caller,
        real_case=form.get("case") == "real",
        by_candidate=form.get("policy") == "candidate",
        view=view,
        apps=sorted(parts.settings.apps),
        models=model_names(parts),
        candidate=await _candidate(parts),
    )


async def _candidate(parts: Parts) -> Rulebook | None:
    """What may be tried in place of the policies in force. Where people must sign policies there is nothing: a trial
    enforces, and what only its author has read would decide which passages and personal data leave."""
    return None if parts.settings.policy.require_signatures else await parts.workbench.candidate()
