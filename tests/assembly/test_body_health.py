"""Probes tell whether texts that have to be kept can be; the node stays ready, as each exchange fails closed."""

import pytest

from gateway.assembly.bodies import bodies_kept
from gateway.edge.health import Health
from gateway.rollout.rollout import PolicyState
from tests.support.fakes import FakeAudit


def test_where_no_texts_are_kept_nothing_is_told() -> None:
    assert bodies_kept(FakeAudit()) is None
    assert Health(audit=True, policy=PolicyState(digest="d")).checks() == {"audit": True}


@pytest.mark.parametrize("kept", [True, False])
def test_a_body_store_is_information(kept: bool) -> None:
    health = Health(audit=True, policy=PolicyState(digest="d"), bodies=kept)
    assert health.ready
    assert health.checks() == {"audit": True, "bodies": kept}
