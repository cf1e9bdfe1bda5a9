from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager
from pathlib import Path
from typing import Any

import pytest
from rollout_texts import policy, rule, words, write
from support.server import ModelServer, RunningGateway, model_server, running_gateway

from gateway.settings import LimitSettings, ModelSettings, PolicySettings, RetrievalSettings, Settings

RELOAD_S = 0.05


@pytest.fixture(scope="module")
def shared_model() -> Iterator[ModelServer]:
    with model_server() as model:
        yield model


@pytest.fixture
def model(shared_model: ModelServer) -> ModelServer:
    """The model behind the gateway, with a clean script."""
    shared_model.answer, shared_model.pause_s = ModelServer().answer, 0.0
    return shared_model


@pytest.fixture
def policies(tmp_path: Path) -> Path:
    """A folder of policies: `alpha` is refused."""
    folder = tmp_path / "policies"
    write(folder, policy(rule(), lists=words("alpha")))
    return folder


@pytest.fixture
def make_settings(tmp_path: Path, model: ModelServer, policies: Path) -> Callable[..., Settings]:
    def make(**more: Any) -> Settings:
        rollout = more.pop("policy", {})
        return Settings(
            **{
                "data_dir": tmp_path / "data",
                "policies": (policies,),
                "models": (ModelSettings(name="real", provider="openai", base_url=model.url, breaker_failures=1_000),),
                "retrieval": RetrievalSettings(store="off"),
                "limits": LimitSettings(requests_per_minute=1_000_000, burst=100_000, concurrent=10_000),
                "policy": PolicySettings(**{"reload_s": RELOAD_S} | rollout),
                **more,
            }
        )

    return make


@pytest.fixture
def running(make_settings: Callable[..., Settings]) -> Callable[..., AbstractContextManager[RunningGateway]]:
    """Serve until the block ends, with what the test asks for."""
    return lambda **more: running_gateway(make_settings(**more))
