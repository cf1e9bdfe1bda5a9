"""Closed sets of words that every package shares. A new member is a change of contract: each `match` on
these ends in `assert_never`, so the type checker finds the places to change."""

from enum import StrEnum


class Effect(StrEnum):
    """What a policy does with a text. Ordered by strictness; `strictest` is the only way they combine (I4)."""

    ALLOW = "allow"
    FLAG = "flag"
    REDACT = "redact"
    ESCALATE = "escalate"
    REFUSE = "refuse"

    @property
    def rank(self) -> int:
        return _RANKS[self]

    @property
    def stops(self) -> bool:
        """Whether the exchange ends here: the text is neither sent on nor released."""
        return self.rank >= _RANKS[Effect.ESCALATE]


_RANKS = {effect: rank for rank, effect in enumerate(Effect)}


def strictest(*effects: Effect) -> Effect:
    """The join of the effect lattice; `allow` for no effects at all."""
    return max(effects, key=_RANKS.__getitem__, default=Effect.ALLOW)


class Phase(StrEnum):
    """Which text a rule looks at."""

    QUERY = "query"
    PASSAGE = "passage"
    ANSWER = "answer"
    TOOL_CALL = "tool_call"


class Provenance(StrEnum):
    """Where a segment's text comes from. `user`, `tool` and `passage` text is untrusted."""

    SYSTEM = "system"
    USER = "user"
    ASSISTANT = "assistant"
    TOOL = "tool"
    PASSAGE = "passage"


class SignalStatus(StrEnum):
    """How a detector's run ended (I3)."""

    OK = "ok"
    ERROR = "error"
    TIMEOUT = "timeout"
    NOT_RUN = "not_run"

    @property
    def rank(self) -> int:
        """How bad it is: where several runs are told as one, the worst counts."""
        return _STATUS_RANKS[self]


_STATUS_RANKS = {
    SignalStatus.OK: 0,
    SignalStatus.NOT_RUN: 1,
    SignalStatus.TIMEOUT: 2,
    SignalStatus.ERROR: 3,
}


class SignalType(StrEnum):
    """The type of a signal's value, with the value it has when the detector ran and saw nothing."""

    FLAG = "flag"  # bool, False
    COUNT = "count"  # int >= 0, 0
    SCORE = "score"  # float in 0..1, 0.0; not a probability
    KINDS = "kinds"  # set of str, empty


class RuleStatus(StrEnum):
    """How the evaluation of one rule ended."""

    MATCHED = "matched"
    NOT_MATCHED = "not_matched"
    ERROR = "error"
    NOT_RUN = "not_run"


class RuleMode(StrEnum):
    ENFORCE = "enforce"
    SHADOW = "shadow"
    CANARY = "canary"


class RedactOperator(StrEnum):
    """How a matched span is replaced."""

    PSEUDONYM = "pseudonym"  # <PERSON_1>; restored in the answer for values the request brought
    MASK = "mask"  # [PERSON]
    HASH = "hash"  # [PERSON:9f2c41aa03]; keyed, equal values stay equal within a tenant
    BIN_LAST4 = "bin_last4"  # 411111******1111
    REMOVE = "remove"


class Placement(StrEnum):
    """Where a detector runs: `inline` on the event loop (microseconds, never blocks) or in a worker thread."""

    INLINE = "inline"
    THREAD = "thread"
