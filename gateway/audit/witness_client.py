"""The signer's side of the witness protocol."""

from collections.abc import Callable
from http import HTTPStatus
from typing import Final

from gateway.audit.checkpoint import SignedCheckpoint, cosignature_time, parse_size
from gateway.audit.note import NoteError, Signature, VerifierKey, parse_signatures
from gateway.audit.post import Answer, check_url, post
from gateway.audit.witness import Submission
from gateway.domain.errors import GatewayError

TIMEOUT_S: Final = 2.0


class WitnessRefused(GatewayError):
    """A witness holds another history of the log than the one it was shown."""

    code = "witness_refused"


class WitnessUnreachable(GatewayError):
    """A witness gave no usable answer; the next checkpoint asks it again."""

    code = "witness_unreachable"


Proof = Callable[[int, int], list[bytes]]
"""The consistency proof from a size to a later one."""


class WitnessClient:
    """One witness. It remembers what the witness saw last, so that one request is usually enough."""

    def __init__(self, url: str, key: VerifierKey, timeout_s: float = TIMEOUT_S) -> None:
        """`url` is the submission prefix. Raises `ConfigurationError`."""
        check_url(url)
        self.key = key
        self._url = url.rstrip("/") + "/add-checkpoint"
        self._timeout_s = timeout_s
        self._seen = 0

    def cosign(self, signed: SignedCheckpoint, proof: Proof) -> Signature:
        """The witness's cosignature, verified. Raises `WitnessRefused` for a history that it does not accept,
        `WitnessUnreachable` for anything else."""
        answer = self._submit(signed, proof, min(self._seen, signed.checkpoint.size))
        if answer.status == HTTPStatus.CONFLICT:
            seen = self._size(answer)
            if seen > signed.checkpoint.size:
                raise WitnessRefused(
                    f"the witness `{self.key.name}` has seen {seen} events of `{signed.checkpoint.origin}`, which now "
                    f"has {signed.checkpoint.size}: the log was rolled back or another one signs under its name"
                )
            answer = self._submit(signed, proof, seen)
        if answer.status in {HTTPStatus.CONFLICT, HTTPStatus.UNPROCESSABLE_ENTITY}:
            raise WitnessRefused(
                f"the witness `{self.key.name}` holds another history of `{signed.checkpoint.origin}` than this log: "
                "stop and compare both"
            )
        if answer.status != HTTPStatus.OK:
            raise WitnessUnreachable(f"the witness `{self.key.name}` answered {answer.status}")
        signature = self._ours(answer, signed)
        self._seen = signed.checkpoint.size
        return signature

    def _submit(self, signed: SignedCheckpoint, proof: Proof, old: int) -> Answer:
        asked = Submission(old, tuple(proof(old, signed.checkpoint.size)), signed)
        try:
            return post(self._url, str(asked).encode(), timeout_s=self._timeout_s)
        except OSError as error:
            reason = error.strerror or type(error).__name__
            raise WitnessUnreachable(f"the witness `{self.key.name}` cannot be reached: {reason}") from None

    def _size(self, answer: Answer) -> int:
        try:
            return parse_size(answer.body.decode("ascii", "replace").strip())
        except NoteError:
            raise WitnessUnreachable(f"the witness `{self.key.name}` does not say what it has seen") from None

    def _ours(self, answer: Answer, signed: SignedCheckpoint) -> Signature:
        try:
            lines = parse_signatures(answer.body.decode("utf-8", "replace"))
        except NoteError:
            lines = ()
        for line in lines:
            if self.key.made(line) and cosignature_time(signed.note.text, line, self.key) is not None:
                return line
        raise WitnessUnreachable(f"the witness `{self.key.name}` answered without a cosignature of its key")
