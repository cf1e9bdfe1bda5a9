from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
from support.served import FAST_POLICIES, write_config
from support.server import ModelServer, model_server

MakeConfig = Callable[..., Path]


@pytest.fixture
def model() -> Iterator[ModelServer]:
    with model_server() as running:
        yield running


@pytest.fixture
def make_config(tmp_path: Path, model: ModelServer) -> MakeConfig:
    """Write a settings file: the scripted model, policies that load no model, and what the test asks for."""

    def make(*, data_dir: Path | None = None, server: dict[str, Any] | None = None, **more: Any) -> Path:
        settings: dict[str, Any] = {
            "data_dir": data_dir or tmp_path / "data",
            "policies": [FAST_POLICIES],
            "models": [
                {"name": "real", "provider": "openai", "base_url": model.url, "retries": 0, "breaker_failures": 1000}
            ],
            "retrieval": {"store": "off"},
            "limits": {"requests_per_minute": 1_000_000, "burst": 100_000, "concurrent": 10_000},
            "server": server or {},
        }
        return write_config(tmp_path / "config", **(settings | more))

    return make
