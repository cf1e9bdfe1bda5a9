"""The command line: `gateway COMMAND`."""

import importlib
import os
import sys
from collections.abc import Callable
from contextlib import AbstractAsyncContextManager, AbstractContextManager
from functools import cache
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final

import click

from gateway import __version__
from gateway.domain.errors import GatewayError
from gateway.domain.event import EventDraft
from gateway.domain.ports import Embedder
from gateway.settings import load_settings

if TYPE_CHECKING:
    from gateway.assembly.reindexing import IndexDesk
    from gateway.assembly.schedules import Standing
    from gateway.assembly.sources import SourceDesk
    from gateway.cases import CaseStore
    from gateway.policy.bundle import Bundle
    from gateway.policy.conversations import ConversationResult
    from gateway.policy.replay import Recompute
    from gateway.retrieval.editions import ServingStore
    from gateway.retrieval.fallback import FallbackStore
    from gateway.retrieval.ingest import Ingest
    from gateway.retrieval.report import IngestReport


_COMMANDS: Final = {
    "audit": "gateway.commands.audit:audit",
    "cases": "gateway.commands.cases:cases",
    "console": "gateway.commands.console:console",
    "demo": "gateway.commands.demo:demo",
    "eval": "gateway.commands.evaluate:evaluate",
    "index": "gateway.commands.index:index",
    "ingest": "gateway.commands.ingest:ingest",
    "keys": "gateway.commands.keys:keys",
    "policy": "gateway.commands.policy:policy",
    "schedules": "gateway.commands.schedules:schedules",
    "serve": "gateway.commands.serve:serve",
    "settings": "gateway.commands.settings:settings_command",
    "signer": "gateway.commands.signer:signer",
    "sources": "gateway.commands.sources:sources",
    "witness": "gateway.commands.witness:witness",
}


class _Commands(click.Group):
    """Imports a command when it is called: `gateway keys list` waits for no model library."""

    def list_commands(self, ctx: click.Context) -> list[str]:  # noqa: ARG002 -- click's interface
        return sorted(_COMMANDS)

    def get_command(self, ctx: click.Context, cmd_name: str) -> click.Command | None:  # noqa: ARG002 -- as above
        if cmd_name not in _COMMANDS:
            return None
        module, _, name = _COMMANDS[cmd_name].partition(":")
        command: click.Command = getattr(importlib.import_module(module), name)
        return command


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


@click.group(cls=_Commands)
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

    def kinds() -> Any:
        from gateway.detectors import installed_kinds

        return installed_kinds()

    def record() -> Callable[[EventDraft], object]:
        from gateway.assembly.node import record_event

        return lambda draft: record_event(context.obj["settings"], draft)

    def announce() -> object:
        from gateway.assembly.cases import case_announcer

        return case_announcer(context.obj["settings"], os.environ)

    def body_wrappers() -> object:
        from gateway.assembly.bodies import wrappers_of

        return wrappers_of(context.obj["settings"], os.environ)

    def open_cases() -> "Callable[[], CaseStore]":
        from gateway.assembly.cases import case_store

        return lambda: case_store(context.obj["settings"], os.environ)

    def embedder() -> Callable[[], Embedder]:
        from gateway.retrieval.embedding import MiniLmEmbedder

        return cache(MiniLmEmbedder)  # whoever asks gets the same one: a model is loaded once

    def passage_store() -> "Callable[[], ServingStore | FallbackStore[ServingStore]]":
        from gateway.assembly.index import open_store
        from gateway.retrieval.embedding import MiniLmEmbedder

        return lambda: open_store(context.obj["settings"], os.environ, MiniLmEmbedder)

    def ingest() -> "Callable[[], AbstractAsyncContextManager[Ingest]]":
        from gateway.assembly.ambient import random_id
        from gateway.assembly.ingest import opened_ingest

        return lambda: opened_ingest(
            context.obj["settings"],
            context.obj["passage_store"],
            context.obj["embedder"](),
            run=random_id(),
            others=context.obj["embedders"],
        )

    def embedders() -> object:
        from gateway.assembly.index import embedders_of

        return embedders_of(context.obj["settings"], os.environ)

    def index() -> "Callable[[], AbstractAsyncContextManager[IndexDesk]]":
        from gateway.assembly.reindexing import opened_index

        return lambda: opened_index(
            context.obj["settings"],
            context.obj["passage_store"],
            lambda: (context.obj["embedder"](), context.obj["embedders"]),
            context.obj["record"],
        )

    def schedules() -> "Callable[[], list[Standing]]":
        from gateway.assembly.ambient import utc_now
        from gateway.assembly.schedules import standing

        return lambda: standing(context.obj["settings"], utc_now())

    def sources() -> "Callable[[], AbstractAsyncContextManager[SourceDesk]]":
        from gateway.assembly.sources import opened_desk

        return lambda: opened_desk(context.obj["settings"], context.obj["passage_store"], context.obj["record"])

    def reading() -> object:
        from gateway.assembly.ingest import reading_of

        return reading_of(context.obj["settings"])

    def parser() -> object:
        from gateway.assembly.ingest import parser_of

        return parser_of(context.obj["settings"])

    def on_ingested() -> "Callable[[IngestReport], object]":
        return lambda report: [context.obj["record"](draft) for draft in report.events()]

    def converse() -> "Callable[[Bundle], tuple[ConversationResult, ...]]":
        from gateway.conversing import converse

        return lambda bundle: converse(bundle, context.obj["settings"].inspection)

    def versions() -> "Callable[[Bundle], dict[str, str]]":
        from gateway.detectors import build_detectors

        def of(bundle: "Bundle") -> dict[str, str]:
            built = build_detectors(bundle, context.obj["settings"].inspection, context.obj["embedder"])
            return {detector.name: detector.version for detector in built}

        return of

    def recomputing() -> "Callable[[Bundle, str], AbstractContextManager[Recompute]]":
        from gateway.assembly.recomputing import opened_recomputing
        from gateway.commands.audit.people import account

        return lambda bundle, reason: opened_recomputing(
            context.obj["settings"],
            context.obj["body_wrappers"],
            context.obj["embedder"],
            bundle,
            by=account(),
            reason=reason,
        )

    makers: dict[str, Callable[[], Any]] = {
        "announce": announce,
        "open_cases": open_cases,
        "body_wrappers": body_wrappers,
        "converse": converse,
        "settings": settings,
        "signals": signals,
        "kinds": kinds,
        "record": record,
        "embedder": embedder,
        "passage_store": passage_store,
        "embedders": embedders,
        "index": index,
        "ingest": ingest,
        "schedules": schedules,
        "sources": sources,
        "reading": reading,
        "parser": parser,
        "on_ingested": on_ingested,
        "versions": versions,
        "recomputing": recomputing,
    }
    context.obj = _Context(config, makers)


def main() -> None:
    """Run a command. A `GatewayError` ends it with one line and exit code 2."""
    try:
        cli(standalone_mode=True)
    except GatewayError as error:
        click.echo(error.for_operator(), err=True)
        sys.exit(2)


if __name__ == "__main__":
    main()
