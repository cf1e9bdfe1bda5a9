"""The short texts that a client sees instead of an answer, and how we know them again in a history."""

import re
from typing import Any, Final

from gateway.domain.vocabulary import Effect, Phase

_DEFAULTS: Final = {
    Effect.REFUSE: "I can't help with that request. It falls outside what this service may answer.",
    Effect.ESCALATE: "Your request needs to be checked by a colleague before it can be answered.",
}
_REFERENCE: Final = re.compile(r"\(reference (q|a)-[0-9a-f]{32}\)\s*$")


def notice(effect: Effect, message: str, *, phase: Phase, exchange: str, case: str = "") -> str:
    """The notice for a stopped exchange: the policy's text or the default, the case if there is one, and a
    reference that leads to the audit record. Says nothing of rules or matches."""
    text = message or _DEFAULTS[effect]
    if case:
        text = f"{text} Case {case}."
    side = "q" if phase is Phase.QUERY else "a"
    return f"{text} (reference {side}-{exchange})"


def is_query_notice(content: Any) -> bool:
    """Whether an assistant's content ends in a notice that stopped a query (as opposed to an answer)."""
    if isinstance(content, list):
        content = next(
            (part.get("text") for part in reversed(content) if isinstance(part, dict) and part.get("type") == "text"),
            None,
        )
    if not isinstance(content, str):
        return False
    match = _REFERENCE.search(content)
    return match is not None and match.group(1) == "q"
