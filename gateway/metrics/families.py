"""What is counted. No content and no caller: applications, rules, detectors, models and codes, all of them bounded."""

from typing import Final

from gateway.metrics.counts import SECONDS, Family

REQUESTS: Final = Family(
    name="gateway_requests",
    about="Exchanges that ended, by the strictest effect on them; `error` if an error ended them",
    labels=("app", "kind", "effect"),
)
REQUEST_ERRORS: Final = Family(
    name="gateway_request_errors", about="Exchanges that an error ended", labels=("app", "error")
)
REQUEST_SECONDS: Final = Family(
    name="gateway_request_seconds",
    about="From the arrival of a request to its recorded end",
    labels=("app", "kind"),
    buckets=SECONDS,
)
REJECTED: Final = Family(
    name="gateway_rejected_requests",
    about="Requests that failed before they were judged",
    labels=("app", "code", "status"),
)
VERDICTS: Final = Family(
    name="gateway_verdicts",
    about="Verdicts on queries, passages, answers and tool calls",
    labels=("app", "phase", "effect"),
)
RULES: Final = Family(
    name="gateway_rule_outcomes",
    about="Rules that matched, failed or were not run",
    labels=("rule", "phase", "mode", "status"),
    most=4_000,
)
WOULD_BE: Final = Family(
    name="gateway_would_be_requests",
    about="What rules in shadow, or the candidate, would have made of exchanges",
    labels=("by", "effect", "would"),
)
DETECTOR_SECONDS: Final = Family(
    name="gateway_detector_seconds",
    about="How long an exchange's phase waited for a detector, by how its run ended",
    labels=("detector", "status"),
    buckets=SECONDS,
)
INSPECTED_TEXTS: Final = Family(
    name="gateway_inspected_texts", about="Texts that were scanned, or known already", labels=("detector", "source")
)
TOKENS: Final = Family(name="gateway_tokens", about="Tokens, as upstreams report them", labels=("model", "direction"))
UPSTREAM_SECONDS: Final = Family(
    name="gateway_upstream_seconds",
    about="From the question to a model to its answer, or to the first chunk of a stream",
    labels=("model", "kind", "result"),
    buckets=SECONDS,
)
AUDIT_EVENTS: Final = Family(name="gateway_audit_events", about="Events that are durable in the log", labels=("type",))
AUDIT_SECONDS: Final = Family(name="gateway_audit_append_seconds", about="Until an event was durable", buckets=SECONDS)
AUDIT_FAILURES: Final = Family(
    name="gateway_audit_append_failures", about="Events of which it is not known that they are durable"
)

FAMILIES: Final = (
    REQUESTS,
    REQUEST_ERRORS,
    REQUEST_SECONDS,
    REJECTED,
    VERDICTS,
    RULES,
    WOULD_BE,
    DETECTOR_SECONDS,
    INSPECTED_TEXTS,
    TOKENS,
    UPSTREAM_SECONDS,
    AUDIT_EVENTS,
    AUDIT_SECONDS,
    AUDIT_FAILURES,
)
