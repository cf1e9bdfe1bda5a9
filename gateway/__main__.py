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

    def __init__(self, config: str) -> None:
        super().__init__(config=config)

    def __missing__(self, key: str) -> Any:
        value = self[key] = _MAKERS[key](self)
        return value

    def get(self, key: str, default: Any = None) -> Any:
        return self[key] if key in self or key in _MAKERS else default


def _settings(made: _Context) -> Any:
    return load_settings(Path(made["config"]) if made["config"] else None, os.environ)


def _signals(made: _Context) -> Any:
    from gateway.detectors import installed_signals

    return installed_signals(made["settings"].inspection)


def _kinds(made: _Context) -> Any:  # noqa: ARG001 -- as all makers
    from gateway.detectors import installed_kinds

    return installed_kinds()


def _record(made: _Context) -> Callable[[EventDraft], object]:
    from gateway.assembly.node import record_event

    return lambda draft: record_event(made["settings"], draft)


def _announce(made: _Context) -> object:
    from gateway.assembly.cases import case_announcer

    return case_announcer(made["settings"], os.environ)


def _body_wrappers(made: _Context) -> object:
    from gateway.assembly.bodies import wrappers_of

    return wrappers_of(made["settings"], os.environ)


def _open_cases(made: _Context) -> "Callable[[], CaseStore]":
    from gateway.assembly.cases import case_store

    return lambda: case_store(made["settings"], os.environ)


def _embedder(made: _Context) -> Callable[[], Embedder]:  # noqa: ARG001 -- as all makers
    from gateway.retrieval.embedding import MiniLmEmbedder

    return cache(MiniLmEmbedder)  # whoever asks gets the same one: a model is loaded once


def _passage_store(made: _Context) -> "Callable[[], ServingStore | FallbackStore[ServingStore]]":
    from gateway.assembly.index import open_store
    from gateway.retrieval.embedding import MiniLmEmbedder

    return lambda: open_store(made["settings"], os.environ, MiniLmEmbedder)


def _ingest(made: _Context) -> "Callable[[], AbstractAsyncContextManager[Ingest]]":
    from gateway.assembly.ambient import random_id
    from gateway.assembly.ingest import opened_ingest

    return lambda: opened_ingest(
        made["settings"],
        made["passage_store"],
        made["embedder"](),
        run=random_id(),
        others=made["embedders"],
    )


def _embedders(made: _Context) -> object:
    from gateway.assembly.index import embedders_of

    return embedders_of(made["settings"], os.environ)


def _index(made: _Context) -> "Callable[[], AbstractAsyncContextManager[IndexDesk]]":
    from gateway.assembly.reindexing import opened_index

    return lambda: opened_index(
        made["settings"],
        made["passage_store"],
        lambda: (made["embedder"](), made["embedders"]),
        made["record"],
    )


def _schedules(made: _Context) -> "Callable[[], list[Standing]]":
    from gateway.assembly.ambient import utc_now
    from gateway.assembly.schedules import standing

    return lambda: standing(made["settings"], utc_now())


def _sources(made: _Context) -> "Callable[[], AbstractAsyncContextManager[SourceDesk]]":
    from gateway.assembly.sources import opened_desk

    return lambda: opened_desk(made["settings"], made["passage_store"], made["record"])


def _reading(made: _Context) -> object:
    from gateway.assembly.ingest import reading_of

    return reading_of(made["settings"])


def _parser(made: _Context) -> object:
    from gateway.assembly.ingest import parser_of

    return parser_of(made["settings"])


def _on_ingested(made: _Context) -> "Callable[[IngestReport], object]":
    return lambda report: [made["record"](draft) for draft in report.events()]


def _converse(made: _Context) -> "Callable[[Bundle], tuple[ConversationResult, ...]]":
    from gateway.conversing import converse

    return lambda bundle: converse(bundle, made["settings"].inspection)


def _versions(made: _Context) -> "Callable[[Bundle], dict[str, str]]":
    from gateway.detectors import build_detectors

    def of(bundle: "Bundle") -> dict[str, str]:
        built = build_detectors(bundle, made["settings"].inspection, made["embedder"])
        return {detector.name: detector.version for detector in built}

    return of


def _recomputing(made: _Context) -> "Callable[[Bundle, str], AbstractContextManager[Recompute]]":
    from gateway.assembly.recomputing import opened_recomputing
    from gateway.commands.audit.people import account

    return lambda bundle, reason: opened_recomputing(
        made["settings"],
        made["body_wrappers"],
        made["embedder"],
        bundle,
        by=account(),
        reason=reason,
    )


_MAKERS: Final[dict[str, Callable[[_Context], Any]]] = {
    "announce": _announce,
    "open_cases": _open_cases,
    "body_wrappers": _body_wrappers,
    "converse": _converse,
    "settings": _settings,
    "signals": _signals,
    "kinds": _kinds,
    "record": _record,
    "embedder": _embedder,
    "passage_store": _passage_store,
    "embedders": _embedders,
    "index": _index,
    "ingest": _ingest,
    "schedules": _schedules,
    "sources": _sources,
    "reading": _reading,
    "parser": _parser,
    "on_ingested": _on_ingested,
    "versions": _versions,
    "recomputing": _recomputing,
}


@click.group(cls=_Commands)
@click.option("--config", default="", envvar="GATEWAY_CONFIG", help="Settings file (`gateway.yaml`).", metavar="FILE")
@click.version_option(__version__, prog_name="gateway")
@click.pass_context
def cli(context: click.Context, *, config: str) -> None:
    """The answer gateway: policies, personal data, retrieval, escalation and audit between clients and a model."""
    context.obj = _Context(config)


def main() -> None:
    """Run a command. A `GatewayError` ends it with one line and exit code 2."""
    try:
        cli(standalone_mode=True)
    except GatewayError as error:
        click.echo(error.for_operator(), err=True)
        sys.exit(2)


if __name__ == "__main__":
    main()
