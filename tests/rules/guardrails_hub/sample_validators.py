"""Validators as a user would write them, for the tests of the adapter."""

import re
from typing import Any

from guardrails.validator_base import ErrorSpan, FailResult, PassResult, Validator, register_validator


@register_validator(name="tests/no_shouting", data_type="string")
class NoShouting(Validator):
    """Words in capitals fail, with a span each."""

    def __init__(self, longest: int = 3, **kwargs: Any) -> None:
        super().__init__(longest=longest, **kwargs)
        self._pattern = re.compile(rf"\b[A-Z]{{{longest + 1},}}\b")

    def _validate(self, value: Any, metadata: dict[str, Any]) -> Any:
        spans = [
            ErrorSpan(start=match.start(), end=match.end(), reason="capitals")
            for match in self._pattern.finditer(value)
        ]
        return FailResult(error_message="capitals", error_spans=spans) if spans else PassResult()


@register_validator(name="tests/inferring", data_type="string")
class Inferring(Validator):
    """Goes through the traced inference path of guardrails-ai."""

    required_metadata_keys = ["limit"]

    def _validate(self, value: Any, metadata: dict[str, Any]) -> Any:
        return PassResult() if self._inference(value) <= metadata["limit"] else FailResult(error_message="long")

    def _inference_local(self, model_input: Any) -> int:
        return len(model_input)


@register_validator(name="tests/unmakeable", data_type="string")
class Unmakeable(Validator):
    def __init__(self) -> None:
        raise KeyError("secret-value")


class NoValidator:
    pass
