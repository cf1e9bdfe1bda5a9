"""Settings of reading the audit trail: its index, who reads all of it, where copies of events go, signs of life."""

from typing import Annotated, Literal

from msgspec import Meta, Struct


def _about(text: str) -> Meta:
    return Meta(description=text)


class SinkSettings(Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """A place that gets every event, at least once and in order; never a text, since events hold none."""

    name: Annotated[
        str, Meta(pattern="^[a-z0-9][a-z0-9-]{0,39}$", description="the sink's name; its position is kept under it")
    ]
    kind: Annotated[
        Literal["http", "syslog", "file"],
        _about("`http` posts batches; `syslog` sends RFC 5424 messages; `file` appends lines"),
    ]
    format: Annotated[Literal["jsonl", "ocsf"], _about("events as they were hashed, or as OCSF 1.8")] = "jsonl"
    url: Annotated[str, _about("for `http`: address that gets a POST a batch")] = ""
    token: Annotated[str, _about("for `http`: `env:NAME` or `file:/path` of a bearer token")] = ""
    host: Annotated[str, _about("for `syslog`: host name")] = ""
    port: Annotated[int, Meta(ge=1, le=65_535, description="for `syslog`: port")] = 6514
    transport: Annotated[
        Literal["tls", "tcp", "udp"], _about("for `syslog`; over `udp` nobody learns of a message that is lost")
    ] = "tls"
    ca_file: Annotated[
        str, _about("for `syslog` over `tls`: file of the authorities to trust; empty trusts the system's")
    ] = ""
    path: Annotated[str, _about("for `file`: the file; full ones get `.1`, `.2`, … added to their name")] = ""
    max_bytes: Annotated[int, Meta(ge=4096, description="for `file`: size after which a new one begins")] = (
        64 * 1024 * 1024
    )
    keep: Annotated[int, Meta(ge=1, description="for `file`: how many full ones are kept")] = 10
    batch_events: Annotated[int, Meta(ge=1, le=10_000, description="most events that go out together")] = 200
    timeout_s: Annotated[float, Meta(gt=0, description="until the sink must have taken a batch")] = 10.0


class TrailSettings(Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """What is made of the audit log while the gateway runs."""

    index: Annotated[bool, _about("whether an index is kept beside the log; without one searches read the log")] = True
    heartbeat_s: Annotated[
        float, Meta(gt=0, description="a log without any other event gets a sign of life after so long")
    ] = 60.0
    operators: Annotated[
        tuple[str, ...], _about("tenants whose auditors see the events of all tenants and of the node itself")
    ] = ()
    export_max_events: Annotated[int, Meta(ge=1, description="most events of one export over HTTP")] = 100_000
    sinks: tuple[SinkSettings, ...] = ()
