"""A validator as a user of guardrails-ai would bring it."""

from guardrails.validator_base import FailResult, PassResult, Validator, register_validator


@register_validator(name="tests/short", data_type="string")
class Short(Validator):
    def validate(self, value, metadata):
        return PassResult() if len(value) < 10_000 else FailResult(error_message="too long")
