"""The console over HTTP, for the tests of this folder."""

from collections.abc import AsyncIterator
from pathlib import Path

import pytest
from console_stage import Stage, make_stage

from gateway.settings import ConsoleSettings


@pytest.fixture
async def stage(tmp_path: Path) -> AsyncIterator[Stage]:
    async for made in make_stage(tmp_path, ConsoleSettings(enabled=True), None):
        yield made
