from collections.abc import Iterator
from pathlib import Path

import pytest
from support.server import ModelServer, RunningGateway, model_server, running_gateway

from gateway.settings import (
    AppSettings,
    BlockMode,
    LimitSettings,
    ModelSettings,
    RetrievalSettings,
    ServerSettings,
    Settings,
)

POLICIES = Path(__file__).parent.parent / "support" / "policies"


@pytest.fixture(scope="module")
def _model() -> Iterator[ModelServer]:
    with model_server() as model:
        yield model


@pytest.fixture
def model(_model: ModelServer) -> ModelServer:
    """The model behind the gateway, with a clean record and script."""
    fresh = ModelServer()
    _model.received, _model.headers, _model.answer = [], [], fresh.answer
    _model.pause_s, _model.disconnects = 0.0, 0
    return _model


@pytest.fixture(scope="module")
def gateway(_model: ModelServer, tmp_path_factory: pytest.TempPathFactory) -> Iterator[RunningGateway]:
    settings = Settings(
        data_dir=tmp_path_factory.mktemp("data"),
        policies=(POLICIES,),
        models=(
            ModelSettings(name="real", provider="openai", base_url=_model.url, retries=0, breaker_failures=1_000),
            ModelSettings(name="extractive", provider="extractive"),
        ),
        retrieval=RetrievalSettings(models=("extractive",)),
        apps={"strict": AppSettings(block_mode=BlockMode.ERROR)},
        limits=LimitSettings(requests_per_minute=100_000, burst=10_000),
        server=ServerSettings(max_body_bytes=200_000, max_text_chars=50_000, max_messages=100),
    )
    with running_gateway(settings) as running:
        yield running
