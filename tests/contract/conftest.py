from collections.abc import Iterator
from pathlib import Path

import pytest
from support.server import ModelServer, RunningGateway, model_server, running_gateway
from support.wire import POLICIES, Caller, rewind, wire_settings

OWN_POLICIES = Path(__file__).parent / "policies"
STARTER_POLICIES = Path(__file__).parent.parent.parent / "policies" / "base"


@pytest.fixture(scope="module")
def _model() -> Iterator[ModelServer]:
    with model_server() as model:
        yield model


@pytest.fixture
def model(_model: ModelServer) -> ModelServer:
    """The model behind the gateway, with a clean record and script."""
    return rewind(_model)


@pytest.fixture(scope="module")
def gateway(_model: ModelServer, tmp_path_factory: pytest.TempPathFactory) -> Iterator[RunningGateway]:
    with running_gateway(wire_settings(tmp_path_factory.mktemp("data"), _model)) as running:
        yield running


@pytest.fixture
def caller(gateway: RunningGateway) -> Caller:
    return Caller(gateway)


@pytest.fixture(scope="module")
def reviewed(_model: ModelServer, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Caller]:
    """A caller of a gateway where a human decides about some answers."""
    settings = wire_settings(tmp_path_factory.mktemp("reviewed"), _model, policies=(POLICIES, OWN_POLICIES))
    with running_gateway(settings) as running:
        yield Caller(running)


@pytest.fixture(scope="module")
def guarded(_model: ModelServer, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Caller]:
    """A caller of a gateway under the starter policies, with all detectors that they need."""
    settings = wire_settings(tmp_path_factory.mktemp("guarded"), _model, policies=(STARTER_POLICIES,))
    with running_gateway(settings) as running:
        yield Caller(running)
