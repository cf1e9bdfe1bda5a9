"""The command line: `gateway COMMAND`."""

import os
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import click

from gateway import __version__
from gateway.commands.audit import audit
from gateway.commands.cases import cases
from gateway.commands.ingest import ingest
from gateway.commands.keys import keys
from gateway.commands.policy import policy
from gateway.commands.serve import serve
from gateway.commands.settings import settings_command
from gateway.domain.errors import GatewayError
from gateway.domain.event import EventDraft
from gateway.settings import load_settings


class _Context(dict[str, Any]):
    """What commands ask of the composition root, made when it is asked for: `gateway policy lint` loads no model."""

    def __init__(self, config: str, makers: dict[str, Callable[[], Any]]) -> None:
        super().__init__(config=config)
        self._makers = makers

    def __missing__(self, key: str) -> Any:
        value = self[key] = self._makers[key]()
        return value

    def get(self, key: str, default: Any = None) -> Any:
        return self[key] if key in self or key in self._makers else default


@click.group()
@click.option("--config", default="", envvar="GATEWAY_CONFIG", help="Settings file (`gateway.yaml`).", metavar="FILE")
@click.version_option(__version__, prog_name="gateway")
@click.pass_context
def cli(context: click.Context, *, config: str) -> None:
    """The answer gateway: policies, personal data, retrieval, escalation and audit between clients and a model."""

    def settings() -> Any:
        return load_settings(Path(config) if config else None, os.environ)

    def signals() -> Any:
        from gateway.detectors import installed_signals

        return installed_signals(context.obj["settings"].inspection)

    def record() -> Callable[[EventDraft], object]:
        from gateway.app import record_event

        return lambda draft: record_event(context.obj["settings"], draft)

    def indexing() -> Any:
        from gateway.app import Indexing

        return Indexing(context.obj["settings"])

    context.obj = _Context(config, {"settings": settings, "signals": signals, "record": record, "indexing": indexing})


for command in (serve, ingest, keys, policy, audit, cases, settings_command):
    cli.add_command(command)


def main() -> None:
    """Run a command. A `GatewayError` ends it with one line and exit code 2."""
    try:
        cli(standalone_mode=True)
    except GatewayError as error:
        click.echo(f"gateway: {error}", err=True)
        sys.exit(2)


if __name__ == "__main__":
    main()
