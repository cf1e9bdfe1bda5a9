"""`gateway serve`: run the gateway."""

import math
import os
import signal
import sys
from contextlib import suppress

import click
import uvicorn
from uvicorn.config import STARTUP_FAILURE
from uvicorn.supervisors import Multiprocess

from gateway.settings import CONFIG_VARIABLE, Settings


@click.command("serve")
@click.option("--host", help="Address to listen on; that of the settings if not given.")
@click.option("--port", type=click.IntRange(0, 65_535), help="Port to listen on; that of the settings if not given.")
@click.option("--workers", type=click.IntRange(min=1), help="Worker processes; that of the settings if not given.")
@click.pass_context
def serve(context: click.Context, *, host: str | None, port: int | None, workers: int | None) -> None:
    """Run the gateway until it is told to stop (SIGINT or SIGTERM). SIGHUP makes it read its policies anew."""
    settings: Settings = context.obj["settings"]
    run(
        settings,
        config=context.obj["config"],
        host=host or settings.server.host,
        port=settings.server.port if port is None else port,
        workers=workers or settings.server.workers,
    )


def run(settings: Settings, *, config: str, host: str, port: int, workers: int) -> None:
    """Serve in this process, or in `workers` processes under a supervisor. Returns when told to stop; exits with
    code 3 when the gateway cannot start."""
    if config:
        os.environ[CONFIG_VARIABLE] = config  # worker processes read it anew
    server = uvicorn.Config(
        "gateway.app:from_environment",
        factory=True,
        host=host,
        port=port,
        workers=workers,
        loop="uvloop",
        http="httptools",
        ws="none",
        lifespan="on",  # `auto` would serve without one, and so without a gateway, when its start raises
        log_config=None,
        access_log=False,
        server_header=False,
        date_header=False,
        timeout_graceful_shutdown=math.ceil(settings.server.shutdown_grace_s),
    )
    started = _supervise(server) if workers > 1 else _serve(server)
    if not started:
        sys.exit(STARTUP_FAILURE)


def _serve(config: uvicorn.Config) -> bool:
    server = uvicorn.Server(config)
    with suppress(KeyboardInterrupt):
        server.run()
    return server.started


class _Supervisor(Multiprocess):
    """Passes SIGHUP on: a worker reads its policies anew. uvicorn would replace every worker."""

    def handle_hup(self) -> None:
        for worker in self.processes:
            if worker.pid is not None and worker.is_ready():  # one that still starts would end by it
                with suppress(ProcessLookupError):
                    os.kill(worker.pid, signal.SIGHUP)


def _supervise(config: uvicorn.Config) -> bool:
    supervisor = _Supervisor(config, sockets=[config.bind_socket()])
    supervisor.run()
    return all(worker.exitcode != STARTUP_FAILURE for worker in supervisor.processes)
