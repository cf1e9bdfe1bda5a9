import asyncio
import os
import sqlite3
from collections.abc import Callable, Iterator
from contextlib import ExitStack, closing
from pathlib import Path
from typing import Any

import pytest
from driven_client import DRIVERS, Driver, RegistryUnreachableError, Result, running_driver
from support.server import ModelServer, RunningGateway, model_server, running_gateway
from support.wire import events, last_place, rewind, wire_settings

from gateway.assembly.index import open_store
from gateway.retrieval.embedding import MiniLmEmbedder
from gateway.retrieval.ingest import Ingest
from gateway.settings import AuditSettings, Settings
from gateway.settings.folder import AUDIT_FILE

DOCUMENT = """---
title: Fees of the savings account
owner: team:savings
source: handbook/savings/fees
classification: public
access: [public]
effective: 2026-01-01
review_by: 2030-01-01
language: en
---
# Fees of the savings account

## Closing

Closing a savings account in its first year costs 25 pounds. Later it is free of charge.
"""


@pytest.fixture(scope="session")
def _model() -> Iterator[ModelServer]:
    with model_server() as model:
        yield model


@pytest.fixture
def model(_model: ModelServer) -> ModelServer:
    """The model behind the gateway, with a clean record and script."""
    return rewind(_model)


@pytest.fixture(scope="session")
def gateway(_model: ModelServer, tmp_path_factory: pytest.TempPathFactory) -> Iterator[RunningGateway]:
    settings = wire_settings(tmp_path_factory.mktemp("data"), _model)
    corpus = tmp_path_factory.mktemp("corpus")
    (corpus / "fees.md").write_text(DOCUMENT, "utf-8")
    asyncio.run(_ingest(settings, corpus))
    with running_gateway(settings) as running:
        yield running


@pytest.fixture(scope="session")
def unrecorded(_model: ModelServer, tmp_path_factory: pytest.TempPathFactory) -> Iterator[tuple[RunningGateway, str]]:
    """A gateway whose audit log cannot be written any more, and a key for it."""
    folder = tmp_path_factory.mktemp("unrecorded")
    settings = wire_settings(folder, _model, audit=AuditSettings(append_timeout_s=0.2))
    with running_gateway(settings) as running:
        key = running.key()
        with closing(sqlite3.connect(folder / AUDIT_FILE, isolation_level=None)) as other:
            other.execute("BEGIN IMMEDIATE")
            yield running, key
            other.execute("ROLLBACK")


@pytest.fixture(scope="session")
def _drivers(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Callable[[str], Driver]]:
    logs = tmp_path_factory.mktemp("drivers")
    running: dict[str, Driver] = {}
    with ExitStack() as stack:

        def driver(name: str) -> Driver:
            if name not in running:
                try:
                    running[name] = stack.enter_context(running_driver(name, logs / f"{name}.log"))
                except RegistryUnreachableError as error:
                    if os.environ.get("CI") == "true":
                        raise
                    pytest.skip(str(error))
            return running[name]

        yield driver


class LibraryUser:
    """A library pointed at a running gateway by address and key alone."""

    def __init__(self, driver: Driver, gateway: RunningGateway, key: str = "") -> None:
        self._driver = driver
        self._gateway = gateway
        self._key = key
        self.name = driver.name
        self.requests = 0  # HTTP requests that the last call made
        self.events: list[dict[str, Any]] = []  # what the last call left in the audit log

    def chat(self, content: Any = "hi", *, stream: bool, app: str = "desk", model: str = "real", **more: Any) -> Result:
        return self._result("chat", app, stream=stream, model=model, messages=_messages(content), **more)

    def structured(self, content: Any, *, stream: bool) -> Result:
        return self._result("structured", "desk", stream=stream, model="real", messages=_messages(content))

    def embeddings(self, *texts: str, encoding: str | None = None) -> Result:
        return self._result("embeddings", "desk", model="all-minilm-l6-v2", texts=texts, encoding=encoding)

    def call(self, operation: str, **arguments: Any) -> Any:
        return self._driver.call(operation, url=self._gateway.url, key=self._gateway.key(), **arguments)

    @property
    def exchange(self) -> str:
        """The id of the last call's only exchange."""
        (only,) = {event["request"] for event in self.events}
        return str(only)

    def _result(self, operation: str, app: str, **arguments: Any) -> Result:
        key = self._key or self._gateway.key(app=app)
        place, before = last_place(self._gateway), len(self._gateway.requests)
        result = self._driver.result(operation, url=self._gateway.url, key=key, **arguments)
        self.requests = len(self._gateway.requests) - before
        self.events = events(self._gateway, after=place)
        return result


@pytest.fixture
def user_of(_drivers: Callable[[str], Driver], gateway: RunningGateway) -> Callable[[str], LibraryUser]:
    return lambda name: LibraryUser(_drivers(name), gateway)


@pytest.fixture(params=list(DRIVERS))
def user(request: pytest.FixtureRequest, user_of: Callable[[str], LibraryUser]) -> LibraryUser:
    """Each of the libraries in turn."""
    return user_of(request.param)


@pytest.fixture
def user_of_unrecorded(
    user: LibraryUser, _drivers: Callable[[str], Driver], unrecorded: tuple[RunningGateway, str]
) -> LibraryUser:
    return LibraryUser(_drivers(user.name), *unrecorded)


def _messages(content: Any) -> list[dict[str, Any]]:
    return content if isinstance(content, list) else [{"role": "user", "content": content}]


async def _ingest(settings: Settings, corpus: Path) -> None:
    embedder = MiniLmEmbedder()
    store = open_store(settings, {}, embedder)
    try:
        await Ingest(store, embedder).run([corpus], tenant="acme")
    finally:
        await store.close()
