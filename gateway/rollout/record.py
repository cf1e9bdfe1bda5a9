"""What the audit log keeps of changes of policies."""

from typing import Any, Final

from gateway.domain.errors import ConfigurationError, FaultsFound, GatewayError
from gateway.domain.event import EventDraft, EventType
from gateway.policy.bundle import Bundle
from gateway.policy.difference import difference
from gateway.rollout.edition import Edition

_MOST_CHANGES: Final = 200
_MOST_FAULTS: Final = 20
_LONGEST_TEXT: Final = 400


def activated(
    edition: Edition,
    bundle: Bundle,
    *,
    cause: str,
    approved_by: tuple[str, ...] = (),
    previous: str = "",
    old: Bundle | None = None,
) -> EventDraft:
    """A bundle comes into force. `previous` is the digest of the one before, "" where nothing changes; `old` is that
    bundle where it is known: then the event says what differs, in words."""
    body: dict[str, Any] = {
        "policy": bundle.digest,
        "edition": edition.digest,
        "rules": len(bundle.rules),
        "sources": [{"set": source.name, "rules": len(source.set.rules)} for source in bundle.sources],
        "cause": cause,
    }
    if approved_by:
        body["approved_by"] = list(approved_by)
    if previous:
        body["previous"] = previous
    if old is not None:
        changes = difference(old, bundle)
        body["changed"] = len(changes)
        body["changes"] = [
            {"what": one.what, "direction": one.direction.value, "text": one.text[:_LONGEST_TEXT]}
            for one in changes[:_MOST_CHANGES]
        ]
    return EventDraft(type=EventType.POLICY_ACTIVATE, body=body)


def rejected(edition: Edition, error: Exception, *, in_force: str) -> EventDraft:
    """An edition that does not come into force. `in_force` is the digest of the bundle that stays."""
    faults = error.faults if isinstance(error, FaultsFound) else ()
    body: dict[str, Any] = {
        "edition": edition.digest,
        "policy": in_force,
        "code": code_of(error),
        "faulty": len(faults),
        "faults": [
            {"file": one.file, "line": one.line, "column": one.column, "code": one.code}
            for one in faults[:_MOST_FAULTS]
        ],
    }
    return EventDraft(type=EventType.POLICY_REJECTED, body=body)


def code_of(error: Exception) -> str:
    """A stable word for what went wrong; of a defect of ours, the type alone."""
    if isinstance(error, FaultsFound) and error.code == ConfigurationError.code:
        return "policy_faults"
    return error.code if isinstance(error, GatewayError) else f"exception:{type(error).__name__}"


def place_of(error: Exception) -> str:
    """The first fault's code and place, without words of the policy: health is told to anyone."""
    if not isinstance(error, FaultsFound):
        return code_of(error)
    first, *more = error.faults
    place = f"{first.code} at {first.file}:{first.line}"
    return f"{place} and {len(more)} more" if more else place
