"""Wires the sinks of the settings: what feeds them, and what tells how far they are behind."""

import ssl
import time
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Final, assert_never

from gateway.audit.background import Makes
from gateway.audit.outbox import Delivery
from gateway.audit.outbox_places import SinkLag, sink_lags
from gateway.audit.outbox_sinks import FileSink, HttpSink, Sink, SyslogSink, as_hashed, as_ocsf
from gateway.domain.errors import AuditUnavailable, ConfigurationError
from gateway.settings import Settings, SinkSettings, optional_secret
from gateway.settings.folder import AUDIT_FILE, SINKS_FILE

BEHIND_S: Final = 300
"""A sink that lacks events of so many seconds is behind: retries of five minutes did not help."""

_FRESH_S: Final = 5.0


def deliveries(settings: Settings, environ: Mapping[str, str], warn: Callable[[str, str], object]) -> list[Makes]:
    """Parts of the background, one a sink. Raises `ConfigurationError` for secrets and files that cannot be read."""
    log, places = settings.data_dir / AUDIT_FILE, settings.data_dir / SINKS_FILE
    return [_delivery(log, places, one, sink_of(one, environ), warn) for one in settings.trail.sinks]


def sink_of(configured: SinkSettings, environ: Mapping[str, str]) -> Sink:
    """The sink that the settings describe. Raises `ConfigurationError`."""
    encode = as_ocsf if configured.format == "ocsf" else as_hashed
    match configured.kind:
        case "http":
            return HttpSink(
                configured.name,
                configured.url,
                token=optional_secret(configured.token, environ),
                encode=encode,
                timeout_s=configured.timeout_s,
            )
        case "file":
            return FileSink(
                configured.name,
                Path(configured.path),
                encode=encode,
                max_bytes=configured.max_bytes,
                keep=configured.keep,
            )
        case "syslog":
            return SyslogSink(
                configured.name,
                configured.host,
                configured.port,
                transport=configured.transport,
                encode=encode,
                timeout_s=configured.timeout_s,
                context=_tls(configured) if configured.transport == "tls" else None,
            )
        case _:
            assert_never(configured.kind)


class SinkWatch:
    """How far the sinks are behind, looked up at most every five seconds. For probes and metrics; one event loop."""

    def __init__(self, settings: Settings) -> None:
        self._log = settings.data_dir / AUDIT_FILE
        self._places = settings.data_dir / SINKS_FILE
        self._names = tuple(sink.name for sink in settings.trail.sinks)
        self._looked = -_FRESH_S
        self._lags: list[SinkLag] = []

    def lags(self) -> list[SinkLag]:
        """About a millisecond; what was known last if a file does not answer."""
        if self._names and time.monotonic() - self._looked >= _FRESH_S:
            self._looked = time.monotonic()
            try:
                self._lags = sink_lags(self._log, self._places, self._names)
            except AuditUnavailable:
                return self._lags  # the log's own health tells of it
        return self._lags

    def keeps_up(self) -> bool | None:
        """Whether no sink is behind; `None` without sinks."""
        return all(lag.behind_s < BEHIND_S for lag in self.lags()) if self._names else None


def _delivery(
    log: Path, places: Path, configured: SinkSettings, sink: Sink, warn: Callable[[str, str], object]
) -> Makes:
    def make() -> Delivery:
        return Delivery(log, places, sink, batch_events=configured.batch_events, warn=warn)

    return f"audit-sink-{configured.name}", make


def _tls(configured: SinkSettings) -> ssl.SSLContext:
    try:
        return ssl.create_default_context(cafile=configured.ca_file or None)
    except (OSError, ssl.SSLError) as error:
        raise ConfigurationError(
            f"`ca_file` of the sink `{configured.name}` cannot be used: {type(error).__name__}: name a PEM file"
        ) from None
