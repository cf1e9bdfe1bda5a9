"""What every event has, wherever it comes from."""

from typing import Annotated, Literal

from msgspec import UNSET, Meta, Struct, UnsetType

from gateway.audit.schema.members import MICROSECONDS, BodyRef, Hash, about


class Envelope(Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """What every event has."""

    v: Annotated[Literal[1], about("version of the event's form")]
    log: Annotated[str, about("name of the log, unique among nodes")]
    seq: Annotated[int, Meta(ge=1), about("place in the log, from 1 without gaps")]
    id: Annotated[str, about("id of the event")]
    type: Annotated[str, about("type of the event")]
    ts: Annotated[
        str,
        Meta(pattern=r"^\d{4}-\d{2}-\d{2}T\d{2}:\d{2}:\d{2}\.\d{6}Z$"),
        about("when it was written, UTC; never decreases along the log"),
    ]
    ts_behind_us: Annotated[
        Annotated[int, Meta(ge=1)] | UnsetType, about("by how much the clock stood behind the log", unit=MICROSECONDS)
    ] = UNSET
    boot: Annotated[str, about("the start of a process that wrote it")]
    request: Annotated[str, about("the exchange it belongs to; empty for none")]
    tenant: Annotated[str, about("the caller's tenant")]
    app: Annotated[str, about("the caller's application")]
    principal: Annotated[str, about("who acted: a keyed pseudonym of tenant, application and user, never a name")]
    prev: Annotated[Hash, about("SHA-256 of the event before it")]


class Kept(Envelope, frozen=True, kw_only=True):
    """An event of an exchange whose texts may be kept."""

    bodies: Annotated[list[BodyRef], about("texts that are kept encrypted, durable before this event")] = []
    uncaptured: Annotated[
        list[str], about("texts that had to be kept and could not; the exchange ended with an error for it")
    ] = []
