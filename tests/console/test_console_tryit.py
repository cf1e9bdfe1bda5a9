"""The playground: the real pipeline over watched ports, marked in the audit, without a case unless one is asked for."""

import pytest
from msgspec import structs
from support.fakes import FakeUpstream, passage

from gateway.audit.search_tally import tallies_of
from gateway.console.app import ConsoleApp
from gateway.console.assets import load_assets
from gateway.console.tryit_run import Trial, run_trial
from gateway.domain.errors import UpstreamError
from gateway.domain.event import PLAYGROUND, EventType
from gateway.domain.principal import Principal
from gateway.settings import AppSettings, CaptureLevel, Settings
from gateway.settings.policy import PolicySettings, SignatureSettings

CARD = "4111 1111 1111 1111"


def form(text: str, **more: str) -> dict[str, str]:
    return {"text": text, "tenant": "acme", "app": "desk", **more}


async def test_every_step_of_a_run_is_shown(stage) -> None:
    stage.bench.retriever.passages = (passage("Accounts are free of charge.", doc="fees"),)
    stage.bench.upstream = upstream(stage, f"They are free, card {CARD}.")
    author = await stage.signed_in("ann", "author", groups=("staff",))
    page = (await author.post("/try", form("What do accounts cost?", groups="staff"))).text
    assert 'Ended with <span class="chip effect-redact">redact</span>' in page
    assert "ann of acme through desk, in staff" in page
    assert "Durable as event 1 of the audit log" in page
    assert "Searched for <q>What do accounts cost?</q>" in page
    assert "Accounts are free of charge." in page
    assert "shown to the model" in page
    assert "C-005" in page
    assert "Durable as event 2" in page
    assert "They are free" in page
    assert "4111 1111" not in page  # what the model wrote is masked, before the verdict and after


async def test_the_run_is_recorded_as_what_it_is(stage) -> None:
    author = await stage.signed_in("ann", "author", groups=("staff",))
    await author.post("/try", form("What do accounts cost?", groups="staff"))
    log = stage.bench.audit
    assert log.types == ["intent", "outcome"]
    assert all(draft.body[PLAYGROUND] is True for draft in log.drafts)
    assert all(draft.bodies == () for draft in log.drafts)
    assert {(draft.tenant, draft.app) for draft in log.drafts} == {("acme", "desk")}
    assert log.drafts[0].body["groups"] == ["staff"]
    assert log.drafts[0].body["auth"] == "console"


async def test_an_app_that_keeps_texts_keeps_none_of_a_trial(stage) -> None:
    settings = Settings(
        data_dir=stage.parts.settings.data_dir, apps={"desk": AppSettings(capture=CaptureLevel.ENCRYPTED_BODY)}
    )
    bench = stage.parts.workbench
    principal = Principal(tenant="acme", app="desk", user="ann", groups=frozenset(), auth="console", ref="p:ann")
    trial = Trial(text="hello", model=settings.models[0].name, principal=principal)
    await run_trial(bench, settings, stage.bench.prepared.rulebook, trial)
    assert stage.bench.audit.types == ["intent", "outcome"]
    assert all(draft.bodies == () for draft in stage.bench.audit.drafts)


@pytest.mark.parametrize(("chosen", "cases"), [({}, 0), ({"case": "real"}, 1)])
async def test_reviewers_are_asked_only_if_that_is_chosen(stage, chosen, cases: int) -> None:
    author = await stage.signed_in("ann", "author")
    page = (await author.post("/try", form("please ask-a-human", **chosen))).text
    assert 'Ended with <span class="chip effect-escalate">escalate</span>' in page
    assert len(stage.bench.cases.drafts) == cases
    assert ("none was opened" in page) == (cases == 0)
    assert ("case_1" in page) == (cases == 1)
    assert stage.bench.upstream.requests == []
    assert stage.bench.retriever.queries == []
    assert "Not asked." in page


async def test_nothing_goes_on_without_a_record(stage) -> None:
    stage.bench.audit.fail_on = EventType.INTENT
    author = await stage.signed_in("ann", "author")
    answer = await author.post("/try", form("What do accounts cost?"))
    assert answer.status_code == 503
    assert stage.bench.upstream.requests == []


async def test_an_answer_is_not_shown_whose_outcome_is_not_recorded(stage) -> None:
    stage.bench.audit.fail_on = EventType.OUTCOME
    author = await stage.signed_in("ann", "author")
    answer = await author.post("/try", form("What do accounts cost?"))
    assert answer.status_code == 503
    assert "Hello there." not in answer.text


async def test_a_model_that_fails_is_told(stage) -> None:
    stage.bench.upstream = upstream(stage, error=UpstreamError("the model is away", code="upstream_unavailable"))
    author = await stage.signed_in("ann", "author")
    page = (await author.post("/try", form("What do accounts cost?"))).text
    assert "upstream_unavailable" in page
    assert stage.bench.audit.last["error"] == "upstream_unavailable"


async def test_nobody_finds_by_a_form_what_is_not_for_them(stage) -> None:
    stage.bench.retriever.passages = (passage("secret", doc="board"),)
    author = await stage.signed_in("ann", "author", groups=("staff",))
    answer = await author.post("/try", form("What is planned?", groups="staff, board"))
    assert answer.status_code == 403
    assert "You are not in `board`" in answer.text
    assert stage.bench.audit.drafts == []
    assert stage.bench.retriever.queries == []
    admin = await stage.signed_in("adam", "admin")
    assert (await admin.post("/try", form("What is planned?", groups="board"))).status_code == 200
    ((principal, _),) = stage.bench.retriever.queries
    assert principal.groups == {"board"}
    assert stage.bench.audit.drafts[0].body["groups"] == ["board"]


@pytest.mark.parametrize(
    ("changed", "status"),
    [
        ({"tenant": "rival"}, 404),
        ({"model": "other"}, 404),
        ({"app": "a b"}, 400),
        ({"text": " "}, 400),
        ({"text": "x" * 20_001}, 400),
        ({"policy": "candidate"}, 409),
    ],
)
async def test_a_form_that_does_not_fit_runs_nothing(stage, changed, status: int) -> None:
    author = await stage.signed_in("ann", "author")
    answer = await author.post("/try", {**form("What do accounts cost?"), **changed})
    assert answer.status_code == status
    assert stage.bench.audit.drafts == []


async def test_the_candidate_decides_where_it_is_chosen(stage) -> None:
    stage.bench.candidate = stage.bench.rulebook(stage.parts.policy())
    author = await stage.signed_in("ann", "author")
    page = (await author.post("/try", form("forbidden-word", policy="candidate"))).text
    assert "candidate policies" in page
    assert 'Ended with <span class="chip effect-refuse">refuse</span>' in page


async def test_a_candidate_that_nobody_signed_enforces_nothing_where_signatures_are_needed(stage) -> None:
    stage.bench.candidate = stage.bench.rulebook(stage.parts.policy())
    signed = PolicySettings(require_signatures=SignatureSettings(keys=("ann=ann.pem",)))
    parts = structs.replace(stage.parts, settings=structs.replace(stage.parts.settings, policy=signed))
    stage.app = ConsoleApp(parts, load_assets())
    author = await stage.signed_in("ann", "author")
    answer = await author.post("/try", form("forbidden-word", policy="candidate"))
    assert (answer.status_code, stage.bench.audit.drafts) == (409, [])
    assert "There is no candidate to try." in answer.text
    assert 'value="candidate"' not in (await author.get("/try")).text


async def test_what_model_and_passages_say_stays_text(stage) -> None:
    stage.bench.retriever.passages = (passage("<script>alert(1)</script>", doc="<b>"),)
    stage.bench.upstream = upstream(stage, "<img src=x onerror=alert(2)>")
    author = await stage.signed_in("ann", "author")
    page = (await author.post("/try", form("<i>What</i> does it cost?"))).text
    for markup in ("<script>alert", "<img src=x", "<i>What", "<b>"):
        assert markup not in page
    assert "&lt;script&gt;alert(1)" in page
    assert "&lt;img src=x" in page


async def test_what_cannot_be_masked_is_not_shown(stage) -> None:
    stage.detectors.failing = True
    stage.bench.retriever.passages = (passage("Accounts are free of charge.", doc="fees"),)
    author = await stage.signed_in("ann", "author")
    page = (await author.post("/try", form("What do accounts cost?"))).text
    assert "Accounts are free of charge." not in page
    assert "Hello there." not in page
    assert page.count("Not shown.") == 3


@pytest.mark.parametrize("role", ["reviewer", "lead", "auditor"])
async def test_nobody_else_runs_anything(stage, role: str) -> None:
    answer = await (await stage.signed_in("zoe", role)).post("/try", form("hello"))
    assert answer.status_code == 403
    assert stage.bench.audit.drafts == []


def test_counts_leave_trials_out() -> None:
    event = {"type": "outcome", "ts": "2026-11-24T09:00:00.000000Z", "tenant": "acme", "app": "desk", "effect": "allow"}
    assert list(tallies_of(event)) != []
    assert list(tallies_of({**event, PLAYGROUND: True})) == []


def upstream(stage, content: str = "Hello there.", **more) -> FakeUpstream:
    """The model of the stage, made to say this."""
    model = stage.bench.upstream
    made = FakeUpstream(content, **more)
    model.message, model.error = made.message, made.error
    return model
