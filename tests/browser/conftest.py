"""The console in a real Chromium, against a running gateway."""

import json
import shutil
import urllib.request
from collections.abc import Iterator
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import pytest
from browser_pages import PEOPLE
from playwright.sync_api import Browser, BrowserContext, Page, sync_playwright
from support.server import ModelServer, RunningGateway, completion, model_server, running_gateway
from support.wire import wire_settings

from gateway.console.accounts import Accounts
from gateway.console.database import ConsoleDatabase
from gateway.domain.text import Secret
from gateway.settings import ConsoleSettings, RetrievalSettings
from gateway.settings.folder import CONSOLE_FILE

POLICIES = Path(__file__).parent.parent / "support" / "case_policies"
PASSWORD = "a long enough password"
OPTIONS = (
    "--no-sandbox",
    "--disable-quic",
    "--disable-background-networking",
    "--disable-component-update",
    "--disable-sync",
    "--no-first-run",
)


def chromium() -> str | None:
    """The browser of this machine, `None` if there is none."""
    return shutil.which("chromium") or shutil.which("chromium-browser") or shutil.which("google-chrome")


class Site:
    """A running gateway with a console, the model behind it, and an app that asks."""

    def __init__(self, gateway: RunningGateway, model: ModelServer) -> None:
        self.gateway = gateway
        self.model = model
        self.url = f"{gateway.url}/console"
        self.key = gateway.key(app="desk", user="alice")
        self.asked = 0

    def ask(self, text: str, **headers: str) -> dict[str, Any]:
        """Send a question as the app does: the body of the answer."""
        body = {"model": "real", "messages": [{"role": "user", "content": text}]}
        request = urllib.request.Request(
            f"{self.gateway.url}/v1/chat/completions",
            json.dumps(body).encode(),
            {"authorization": f"Bearer {self.key}", "content-type": "application/json", **headers},
        )
        with urllib.request.urlopen(request, timeout=30) as answer:
            return json.load(answer)

    def held_answer(self, words: str = "It costs 5 pounds a month.") -> tuple[str, str]:
        """A question whose answer waits for a person: the question and its case."""
        self.asked += 1
        question = f"What does account number {self.asked} cost?"
        self.model.answer = lambda body: completion(f"This is a delicate-answer for you. {words}")
        return question, self.ask(question)["gateway"]["case"]


@pytest.fixture(scope="session")
def site(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Site]:
    folder = tmp_path_factory.mktemp("browser")
    with model_server() as model:
        settings = wire_settings(
            folder / "data",
            model,
            policies=(POLICIES,),
            retrieval=RetrievalSettings(store="off", models=()),
            console=ConsoleSettings(enabled=True),
        )
        with running_gateway(settings) as gateway:
            db = ConsoleDatabase.open(settings.data_dir / CONSOLE_FILE)
            for name, roles in PEOPLE.items():
                Accounts(db).add(name, Secret(PASSWORD), roles=roles, tenants=["acme"], now=datetime.now(UTC))
            db.close()
            yield Site(gateway, model)


@pytest.fixture(scope="session")
def browser() -> Iterator[Browser]:
    path = chromium()
    if path is None:
        pytest.skip("no Chromium here: install `chromium` to run the tests in a browser")
    with sync_playwright() as playwright:
        opened = playwright.chromium.launch(executable_path=path, args=list(OPTIONS))
        yield opened
        opened.close()


class Visitor:
    """A browser window of its own. Whatever the page complains of, and whatever leaves loopback, fails the test."""

    def __init__(self, site: Site, context: BrowserContext) -> None:
        self.site = site
        self.context = context
        self.page: Page = context.new_page()
        self.complaints: list[str] = []
        self.page.on("console", self._heard)
        self.page.on("pageerror", lambda error: self.complaints.append(f"error: {error}"))
        self.page.on("request", self._watched)

    def _heard(self, message: Any) -> None:
        # A page that is a refusal is a "failed" resource to the console.
        if message.type in ("error", "warning") and "the server responded with a status of 4" not in message.text:
            self.complaints.append(f"{message.type}: {message.text}")

    def _watched(self, request: Any) -> None:
        if not request.url.startswith((self.site.gateway.url, "data:")):
            self.complaints.append(f"left loopback: {request.url}")

    def go(self, path: str = "") -> "Visitor":
        self.page.goto(self.site.url + path)
        return self

    def sign_in(self, name: str) -> "Visitor":
        self.go("/sign-in")
        self.page.get_by_label("Name").fill(name)
        self.page.get_by_label("Password").fill(PASSWORD)
        self.page.get_by_role("button", name="Sign in").click()
        self.page.get_by_role("button", name="Sign out").wait_for()
        return self


@pytest.fixture
def visit(site: Site, browser: Browser) -> Iterator[Any]:
    """Opens windows: `visit("zoe", color_scheme="dark")`; signed in if a name is given."""
    opened: list[Visitor] = []

    def make(name: str = "", **options: Any) -> Visitor:
        context = browser.new_context(viewport=options.pop("viewport", {"width": 1280, "height": 900}), **options)
        context.set_default_timeout(10_000)
        visitor = Visitor(site, context)
        opened.append(visitor)
        return visitor.sign_in(name) if name else visitor

    yield make
    complaints = [complaint for visitor in opened for complaint in visitor.complaints]
    for visitor in opened:
        visitor.context.close()
    assert complaints == []
