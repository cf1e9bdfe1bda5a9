from collections.abc import Iterator

import pytest
from support.server import ModelServer, RunningGateway, model_server, running_gateway
from support.wire import Caller, rewind, wire_settings


@pytest.fixture(scope="module")
def model() -> Iterator[ModelServer]:
    """The model behind the gateway; it greets whatever it is asked."""
    with model_server() as model:
        yield rewind(model)


@pytest.fixture(scope="module")
def gateway(model: ModelServer, tmp_path_factory: pytest.TempPathFactory) -> Iterator[RunningGateway]:
    with running_gateway(wire_settings(tmp_path_factory.mktemp("data"), model)) as running:
        yield running


@pytest.fixture(scope="module")
def caller(gateway: RunningGateway) -> Caller:
    return Caller(gateway)
