"""Validators of guardrails-ai as detectors: from its hub, installed beside the gateway, or written by the user.

Finds and misses: what the validator does; the gateway calls its `validate` directly, without a `Guard`, so that
nothing is re-asked, fixed or filtered behind the policies' back. guardrails-ai reports usage to its makers unless
told otherwise: here metrics, traces and remote inference are off before a validator's module is imported. What a
validator itself sends or downloads is its own, and the operator's to know. Costs: seconds at the first import, then
the validator's own; calls are one at a time, because validators keep state.
"""

from rules.guardrails_hub.detector import GuardrailsDetector, load_validator

__all__ = ["GuardrailsDetector", "load_validator"]
