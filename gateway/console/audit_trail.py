"""The audit log as the console reads it."""

from collections.abc import Callable, Sequence
from pathlib import Path

from msgspec import Struct

from gateway.audit.anchoring import Trust
from gateway.audit.apart import Apart
from gateway.audit.body_read import BodyReader
from gateway.audit.outbox_places import SinkLag
from gateway.audit.text_tag import TextTags


class Trail(Struct, frozen=True, kw_only=True):
    """`trust` says whose checkpoints anchor the log, `lags` how far the sinks are behind."""

    log: Path
    trust: Trust
    apart: Apart
    tags: TextTags
    bodies: BodyReader
    lags: Callable[[], Sequence[SinkLag]]
