from collections.abc import Callable, Iterator
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import pytest
from support.stores import KeptCases, needs_postgres

from gateway.cases.store import CaseStore
from gateway.domain.case import CaseDraft
from gateway.domain.passage import Passage
from gateway.domain.principal import Principal
from gateway.domain.sealing import MasterKey, Purpose
from gateway.domain.verdict import Escalation
from gateway.domain.vocabulary import Phase

MASTER = MasterKey(bytes(range(32)))
CONTENT_KEY = MASTER.derive(Purpose.CASE_CONTENT)
BINDING_KEY = MASTER.derive(Purpose.CASE_BINDING)
OPENED = datetime(2026, 11, 24, 10, 0, tzinfo=UTC)


@pytest.fixture
def draft() -> Callable[..., CaseDraft]:
    """A draft whose texts all contain the word `canary`."""

    def make(**changes: Any) -> CaseDraft:
        passage = Passage(
            doc="fees", number=3, revision="0f", title="Fees", text="canary passage", access=frozenset({"staff"})
        )
        values: dict[str, Any] = {
            "exchange": "ex-1",
            "fingerprint": "f" * 64,
            "tenant": "acme",
            "app": "loans",
            "principal": "p:1",
            "phase": Phase.ANSWER,
            "policy": "sha256:ab",
            "rules": ("CRD-001", "CRD-002"),
            "escalations": (Escalation(rule="CRD-001", queue="credit", sla_s=3600, approvals=2),),
            "opened": OPENED,
            "question": "canary question",
            "candidate": "canary answer",
            "passages": (passage,),
        }
        return CaseDraft(**{**values, **changes})

    return make


@pytest.fixture
def person() -> Callable[..., Principal]:
    def make(ref: str = "p:2", tenant: str = "acme", app: str = "console", *roles: str) -> Principal:
        return Principal(
            tenant=tenant, app=app, user="u", groups=frozenset(), roles=frozenset(roles), auth="key", ref=ref
        )

    return make


@pytest.fixture(params=["sqlite", pytest.param("postgres", marks=needs_postgres)])
def kept(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[KeptCases]:
    """Each database that a store may stand on."""
    cases = KeptCases(request.param, tmp_path, CONTENT_KEY)
    yield cases
    cases.close()


@pytest.fixture
def store(kept: KeptCases) -> CaseStore:
    return kept.open()
