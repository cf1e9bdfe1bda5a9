"""What must hold of a bundle before it comes into force: its signatures, and its own tests."""

from collections.abc import Iterable, Mapping, Sequence
from datetime import datetime

from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PublicKey
from msgspec import Struct

from gateway.domain.errors import ConfigurationError, Fault, FaultsFound
from gateway.policy.bundle import Bundle
from gateway.policy.conversations import ConversationResult
from gateway.policy.signing import read_manifest, verify_bundle
from gateway.policy.trials import run_trials
from gateway.rollout.edition import Edition

UNSIGNED = "policy_unsigned"
TESTS_FAILED = "policy_tests_failed"


class Signers(Struct, frozen=True, kw_only=True):
    """The people whose approval counts, and how many of them are needed besides the author."""

    keys: Mapping[str, Ed25519PublicKey]
    approvals: int


def check_signatures(edition: Edition, bundle: Bundle, signers: Signers) -> tuple[str, ...]:
    """The approvers. Raises `ConfigurationError` with code `policy_unsigned` unless the manifest approves exactly the
    edition."""
    if not edition.manifest:
        raise ConfigurationError(
            "the policies are not signed: let two people approve them with `gateway policy sign`", code=UNSIGNED
        )
    files = {one.name: one.content or b"" for one in edition.files}
    try:
        manifest = read_manifest(edition.manifest)
        return verify_bundle(manifest, bundle, files, signers.keys, required=signers.approvals)
    except ConfigurationError as error:
        raise ConfigurationError(error.message, code=UNSIGNED) from None


def check_trials(bundle: Bundle, *, now: datetime) -> None:
    """Raises `FaultsFound` with code `policy_tests_failed` for the unit tests that do not pass."""
    _raise_for(
        Fault(one.trial.file, one.trial.line, 1, "POL201", f"test `{one.trial.name}`: {one.message}")
        for one in run_trials(bundle, now=now)
        if not one.passed
    )


def check_conversations(results: Sequence[ConversationResult]) -> None:
    """Raises `FaultsFound` with code `policy_tests_failed` for the conversations that did not pass."""
    _raise_for(
        Fault(one.file, one.line, 1, "POL202", f"conversation `{one.name}`: {one.message}")
        for one in results
        if not one.passed
    )


def _raise_for(faults: Iterable[Fault]) -> None:
    found = tuple(faults)
    if found:
        error = FaultsFound(found)
        error.code = TESTS_FAILED
        raise error
