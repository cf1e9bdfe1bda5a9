"""The detector that wraps one validator, and the loading of validators."""

import hashlib
import importlib
import inspect
import re
import threading
from collections.abc import Callable, Mapping, Sequence
from importlib import metadata
from pathlib import Path
from typing import Any, Final, Protocol, cast

import msgspec

from gateway.domain.errors import ConfigurationError
from gateway.domain.signal import EMPTY_SCAN, Finding, Scan
from gateway.domain.vocabulary import Placement, SignalType

GUARDRAILS_VERSION: Final = "1"

_NAME: Final = re.compile("[a-z][a-z0-9_]*")
_SPEC: Final = re.compile(r"[A-Za-z_][\w.]*:[A-Za-z_]\w*")


class Validator(Protocol):
    """The part of `guardrails.Validator` that is used."""

    required_metadata_keys: list[str]

    def validate(self, value: Any, metadata: dict[str, Any]) -> Any: ...

    def get_args(self) -> dict[str, Any]: ...


class GuardrailsDetector:
    """Signals `<name>.failed` (flag) and `<name>.count`, the number of places that failed, at least one.

    Findings of kind `<name>.failed` cover the error spans that the validator gives, or else the whole text, so
    that a policy which redacts them leaves nothing over. `call_metadata` goes to every call. An exception of the
    validator and a result that is neither pass nor fail are failures of the detector, never a pass.

    Raises `ConfigurationError` for a name that is no word of a policy, or metadata that the validator misses.
    """

    placement = Placement.THREAD

    def __init__(self, name: str, validator: Validator, call_metadata: Mapping[str, Any] | None = None) -> None:
        if _NAME.fullmatch(name) is None:
            raise ConfigurationError(f"detector name `{name}` is not usable: write lower-case letters, digits and `_`")
        missing = sorted(set(validator.required_metadata_keys) - set(call_metadata or {}))
        if missing:
            raise ConfigurationError(f"validator of `{name}` needs metadata `{missing[0]}`: give a value for it")
        self.name = name
        self.signals: Mapping[str, SignalType] = {f"{name}.failed": SignalType.FLAG, f"{name}.count": SignalType.COUNT}
        self.version = _version(validator, call_metadata or {})
        self._validator = validator
        self._metadata = dict(call_metadata or {})
        self._one_at_a_time = threading.Lock()

    def scan(self, texts: Sequence[str]) -> list[Scan]:
        return [self._scan(text) for text in texts]

    def _scan(self, text: str) -> Scan:
        with self._one_at_a_time:
            result = self._validator.validate(text, dict(self._metadata))
        match str(getattr(getattr(result, "outcome", None), "value", getattr(result, "outcome", None))):
            case "pass":
                return EMPTY_SCAN
            case "fail":
                findings = self._findings(text, result)
                values = {f"{self.name}.failed": True, f"{self.name}.count": max(1, len(findings))}
                return Scan(findings, values)
            case _:
                raise TypeError("the validator's result is neither pass nor fail")

    def _findings(self, text: str, result: Any) -> tuple[Finding, ...]:
        chunk = getattr(result, "validated_chunk", None)
        offset = text.find(chunk) if isinstance(chunk, str) else 0
        spans = {
            (max(0, offset + span.start), min(len(text), offset + span.end))
            for span in (result.error_spans or () if offset >= 0 else ())
        }
        if not spans or any(start >= end for start, end in spans):  # a span that is no span tells no place
            spans = {(0, len(text))} if text else set()
            return tuple(self._finding(span, "text") for span in spans)
        return tuple(self._finding(span, "span") for span in sorted(spans))

    def _finding(self, span: tuple[int, int], evidence: str) -> Finding:
        return Finding(start=span[0], end=span[1], kind=f"{self.name}.failed", detector=self.name, evidence=evidence)


def load_validator(spec: str, kwargs: Mapping[str, Any] | None = None) -> Validator:
    """Import `module:Class` and make a validator of it, with guardrails-ai kept from reporting.

    Raises `ConfigurationError` if guardrails-ai or the module is missing, the class is no validator, or it cannot
    be made with `kwargs`.
    """
    if _SPEC.fullmatch(spec) is None:
        raise ConfigurationError(f"validator `{spec}` is not of the form `module:Class`")
    base = _quiet_base_class()
    module_name, _, class_name = spec.partition(":")
    try:
        validator_class = getattr(importlib.import_module(module_name), class_name, None)
    except ImportError as error:
        raise ConfigurationError(
            f"validator `{spec}` cannot be imported: install `{error.name or module_name}` beside the gateway"
        ) from error
    except Exception as error:
        raise ConfigurationError(f"validator `{spec}` cannot be imported: {type(error).__name__}") from error
    if not (isinstance(validator_class, type) and issubclass(validator_class, base)):
        raise ConfigurationError(f"validator `{spec}` is not a class derived from `guardrails.Validator`")
    make = cast("Callable[..., Validator]", validator_class)
    try:
        return make(**(kwargs or {}))
    except Exception as error:  # a constructor of somebody else's may raise anything
        raise ConfigurationError(f"validator `{spec}` cannot be made: {type(error).__name__}") from error


def _quiet_base_class() -> type:
    """`guardrails.Validator`, after metrics, traces and remote inference are switched off.

    The import itself sends nothing; validators read these settings when they are made. A `.guardrailsrc` in the
    home directory, which would switch metrics on, is overruled and never written.
    """
    try:
        guardrails = importlib.import_module("guardrails")
        rc_class = importlib.import_module("guardrails.classes.rc").RC
    except ImportError as error:
        raise ConfigurationError("validators need guardrails-ai: run `pip install guardrails-ai`") from error
    guardrails.settings.rc = rc_class(id=None, token=None, enable_metrics=False, use_remote_inferencing=False)
    guardrails.settings.disable_tracing = True
    base: type = guardrails.Validator
    return base


def _version(validator: Validator, call_metadata: Mapping[str, Any]) -> str:
    """Moves with guardrails-ai, the code of the validator's module, and what it is called with."""
    source = inspect.getsourcefile(type(validator))
    digest = hashlib.sha256(Path(source).read_bytes() if source else b"")
    arguments = (sorted(validator.get_args().items()), sorted(call_metadata.items()))
    digest.update(msgspec.json.encode(arguments, enc_hook=lambda value: type(value).__qualname__))
    return f"{GUARDRAILS_VERSION}+guardrails-ai@{metadata.version('guardrails-ai')}+{digest.hexdigest()[:16]}"
