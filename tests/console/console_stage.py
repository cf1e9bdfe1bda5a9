"""The console over HTTP without a socket: the real application and stores, fakes at the ports."""

import asyncio
import re
from collections.abc import AsyncIterator, Callable
from datetime import datetime, timedelta
from functools import lru_cache
from html import unescape
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

import httpx
import msgspec
from msgspec import structs
from support.fakes import FakeAudit
from trail_support import make_trail
from workbench_support import Bench

from gateway.audit.read import Event
from gateway.cases import CaseReview, SqliteCaseStore, Transitions
from gateway.cases.case import Case
from gateway.cases.terms import new_case
from gateway.console.accounts import Accounts
from gateway.console.app import ConsoleApp
from gateway.console.assets import load_assets
from gateway.console.database import ConsoleDatabase
from gateway.console.oidc import OidcClient
from gateway.console.parts import Parts
from gateway.console.rendering import Renderer
from gateway.console.roles import Role
from gateway.console.sessions import Entrant, Sessions
from gateway.console.throttle import Throttle
from gateway.domain.case import CaseDraft
from gateway.domain.passage import Passage
from gateway.domain.sealing import MasterKey, Purpose
from gateway.domain.signal import Finding
from gateway.domain.verdict import Escalation
from gateway.domain.vocabulary import Phase, SignalType
from gateway.policy.bundle import Bundle
from gateway.policy.load import load_bundle
from gateway.settings import CaseSettings, ConsoleSettings, Settings

MASTER = MasterKey(bytes(range(32)))
BASE = "/console"
HOST = "http://127.0.0.1:8080"
CARD = "4111 1111 1111 1111"
OPENED = datetime.fromisoformat("2026-11-24T10:00:00+00:00")
POLICIES = Path(__file__).parent.parent / "support" / "case_policies"
PASSWORD = "a long enough password"


class Clock:
    def __init__(self) -> None:
        self.now = OPENED

    def __call__(self) -> datetime:
        return self.now

    def forward(self, **span: float) -> None:
        self.now += timedelta(**span)


class Detectors:
    """Finds the card number of the tests; `failing` is a detector that did not end well."""

    failing = False

    async def __call__(self, texts):
        if self.failing:
            return None
        return [
            [Finding(start=m.start(), end=m.end(), kind="CREDIT_CARD", detector="t") for m in re.finditer(CARD, text)]
            for text in texts
        ]


class Stage:
    """A console with everything behind it."""

    def __init__(self, parts: Parts, clock: Clock, detectors: Detectors, audit: FakeAudit, bench: Bench) -> None:
        self.parts = parts
        self.clock = clock
        self.detectors = detectors
        self.audit = audit
        self.bench = bench
        self.stopping: tuple[str, ...] = ()  # rules that stop an edited answer
        self.events: list[Event] = []
        self.app = ConsoleApp(parts, load_assets())

    def change(self, **parts: Any) -> None:
        """The same console with other parts."""
        self.parts = structs.replace(self.parts, **parts)
        self.app = ConsoleApp(self.parts, load_assets())

    def browser(self, *, host: str = HOST) -> "Browser":
        return Browser(self, host)

    async def signed_in(
        self, account: str, *roles: str, tenants: tuple[str, ...] = ("acme",), groups: tuple[str, ...] = ()
    ) -> "Browser":
        """A browser in which somebody is signed in by a provider."""
        who = Entrant(
            account=account,
            local=False,
            roles=frozenset(map(Role, roles)),
            tenants=tenants,
            groups=frozenset(groups),
        )
        opened = self.parts.sessions.open(who, now=self.clock())
        browser = self.browser()
        browser.cookies["gateway_console"] = opened.cookie.reveal()
        browser.csrf = opened.session.csrf
        return browser

    async def open_case(self, number: int = 1, **changes: Any) -> Case:
        """A case of alice's, with a card number in each of its texts."""
        passage = Passage(
            doc="fees",
            number=3,
            revision="0f",
            title="Fees",
            text=f"passage {CARD}",
            access=frozenset({"staff"}),
        )
        values: dict[str, Any] = {
            "exchange": f"ex-{number}",
            "fingerprint": f"{number:064x}",
            "tenant": "acme",
            "app": "loans",
            "principal": "p:alice",
            "user": "alice",
            "phase": Phase.ANSWER,
            "policy": self.parts.policy().digest,
            "rules": ("C-003",),
            "escalations": (Escalation(rule="C-003", queue="credit", sla_s=3600),),
            "opened": self.clock(),
            "question": f"question {CARD}",
            "candidate": f"reply {CARD}",
            "passages": (passage,),
        }
        draft = CaseDraft(**{**values, **changes})
        case = new_case(f"case_{number:032x}", draft, self.parts.case_key)
        await self.parts.store.add(case, draft)
        return case

    async def case(self, case: Case) -> Case:
        found = await self.parts.store.find(case.id)
        assert found is not None
        return found

    def tell(self, exchange: str, **members: Any) -> None:
        """Put an event into the audit log that pages read."""
        whole = {"request": exchange, **members}
        self.events.append(Event(seq=len(self.events) + 1, hash="", members=whole, body=msgspec.json.encode(whole)))


class Browser:
    """Keeps cookies, follows nothing by itself, and sends forms as browsers do."""

    def __init__(self, stage: Stage, host: str) -> None:
        self.stage = stage
        self.host = host
        self.cookies: dict[str, str] = {}
        self.csrf = ""

    async def get(self, path: str, **headers: str) -> httpx.Response:
        return await self.send("GET", path, None, headers)

    async def post(
        self, path: str, form: dict[str, str] | None = None, *, csrf: str | None = None, **headers: str
    ) -> httpx.Response:
        token = self.csrf if csrf is None else csrf
        given = {"origin": self.host, **{name.replace("_", "-"): value for name, value in headers.items()}}
        return await self.send("POST", path, {"csrf": token, **(form or {})}, given)

    async def act(self, case: Case, act: str, form: dict[str, str] | None = None, **more: Any) -> httpx.Response:
        """Send a form of the case's page, with the revision that it has now."""
        now = await self.stage.case(case)
        return await self.post(f"/cases/{case.id}/{act}", {"revision": str(now.revision), **(form or {})}, **more)

    async def send(
        self, method: str, path: str, form: dict[str, str] | None = None, headers: dict[str, str] | None = None
    ) -> httpx.Response:
        cookies = "; ".join(f"{name}={value}" for name, value in self.cookies.items())
        sent = {**({"cookie": cookies} if cookies else {}), **(headers or {})}
        transport = httpx.ASGITransport(app=self.stage.app)
        async with httpx.AsyncClient(transport=transport, base_url=self.host) as client:
            answer = await client.request(method, path, data=form, headers=sent)
        for line in answer.headers.get_list("set-cookie"):
            name, _, value = line.partition(";")[0].partition("=")
            self.cookies[name] = value
        return answer


def field(page: str, name: str) -> str:
    """The value of a hidden field of a page."""
    match = re.search(rf'name="{name}" value="([^"]*)"', page)
    assert match is not None, f"the page has no field {name}"
    return unescape(match[1])


@lru_cache(maxsize=1)
def policies() -> Bundle:
    """Loaded once: what they mean never changes."""
    return load_bundle((POLICIES,), signals={"pii_patterns.entities": SignalType.KINDS}, now=OPENED)


@lru_cache(maxsize=1)
def renderer() -> Renderer:
    """Templates are compiled once."""
    return Renderer(load_assets(), base=BASE)


@lru_cache(maxsize=1)
def empty_files() -> dict[str, bytes]:
    """The two databases without content: making their tables waits for the disk a dozen times."""
    with TemporaryDirectory() as folder:
        SqliteCaseStore.open(Path(folder) / "cases.db", key=MASTER.derive(Purpose.CASE_CONTENT)).close()
        ConsoleDatabase.open(Path(folder) / "console.db").close()
        return {name: (Path(folder) / name).read_bytes() for name in ("cases.db", "console.db")}


async def make_stage(
    folder: Path, console: ConsoleSettings, oidc: Callable[[Clock], OidcClient] | None
) -> AsyncIterator[Stage]:
    clock, detectors, audit = Clock(), Detectors(), FakeAudit()
    settings = Settings(data_dir=folder, console=console, cases=CaseSettings(lease_s=900))
    bundle = policies()
    for name, content in empty_files().items():
        (folder / name).write_bytes(content)
    store = SqliteCaseStore.open(folder / "cases.db", key=MASTER.derive(Purpose.CASE_CONTENT))
    db = ConsoleDatabase.open(folder / "console.db")
    transitions = Transitions(store, audit, clock=clock, announce=lambda *_: ())
    stage: list[Stage] = []

    async def judge_edit(*_: object) -> tuple[str, ...]:
        return stage[0].stopping

    async def trace(exchange: str) -> list[Event]:
        return [event for event in stage[0].events if event.members["request"] == exchange]

    review = CaseReview(
        store,
        audit,
        transitions,
        judge_edit=judge_edit,
        key=MASTER.derive(Purpose.CASE_BINDING),
        lease=timedelta(seconds=900),
        clock=clock,
    )
    bench = Bench(folder, settings, bundle, POLICIES, clock)
    parts = Parts(
        settings=settings,
        origin=console.public_url,
        db=db,
        accounts=Accounts(db),
        sessions=Sessions(
            db, idle=timedelta(seconds=console.session_idle_s), absolute=timedelta(seconds=console.session_s)
        ),
        throttle=Throttle(db),
        oidc=oidc(clock) if oidc else None,
        store=store,
        review=review,
        policy=lambda: bundle,
        trace=trace,
        find_personal=detectors,
        audit=audit,
        clock=clock,
        case_key=MASTER.derive(Purpose.CASE_BINDING),
        ref_key=MASTER.derive(Purpose.PRINCIPAL_REF),
        renderer=renderer(),
        door=asyncio.Semaphore(2),
        workbench=bench.build(),
        trail=make_trail(bench.log, audit),
    )
    stage.append(Stage(parts, clock, detectors, audit, bench))
    try:
        yield stage[0]
    finally:
        store.close()
        db.close()
        bench.close()
