"""Work of seconds in a process of its own: a verification of the whole log, a bundle of many events. In this process
it would take the interpreter from the requests. One at a time; the others wait."""

import asyncio
import shutil
import tempfile
from collections.abc import Callable, Iterable
from datetime import datetime
from functools import partial
from multiprocessing import get_context
from multiprocessing.connection import Connection
from pathlib import Path
from typing import Final, TypeVar

from msgspec import Struct

from gateway.audit.anchoring import Trust
from gateway.audit.bundle import write_bundle
from gateway.audit.checkpoint_folder import folder_of
from gateway.audit.export_forms import Form
from gateway.audit.note import VerifierKey
from gateway.audit.read import Filter
from gateway.audit.verify import Verification, verify_log
from gateway.domain.errors import GatewayError, GuardUnavailable

_FRESH_S: Final = 30.0  # how long a verification is told again
_CONTEXT: Final = get_context("spawn")  # a copy of this process would hold its locks and connections
_Result = TypeVar("_Result")


class Evidence(Struct, frozen=True):
    """A bundle in a folder of its own, which whoever has it removes."""

    path: Path
    size: int

    def remove(self) -> None:
        shutil.rmtree(self.path.parent, ignore_errors=True)


class _Asked(Struct, frozen=True):
    """What a bundle is made with besides its events."""

    keys: tuple[VerifierKey, ...]
    most_events: int
    now: datetime


class Apart:
    """Used from one event loop. `monotonic` in seconds."""

    def __init__(
        self,
        log: Path,
        *,
        trust: Trust,
        keys: Iterable[VerifierKey],
        most_events: int,
        monotonic: Callable[[], float],
    ) -> None:
        self._log = log
        self._trust = trust
        self._keys = tuple(keys)
        self._most_events = most_events
        self._monotonic = monotonic
        self._turn = asyncio.Lock()
        self._verified: tuple[float, Verification] | None = None

    async def verified(self) -> Verification:
        """The log recomputed, or what that gave at most 30 s ago. Raises `AuditUnavailable`."""
        async with self._turn:
            if self._verified is None or self._monotonic() - self._verified[0] > _FRESH_S:
                found = await self._run(partial(verify_log, self._log, self._trust))
                self._verified = self._monotonic(), found
            return self._verified[1]

    async def evidence(self, wanted: Filter, form: Form, now: datetime) -> Evidence:
        """A bundle of these events. Raises `RequestError` if they are too many, and `AuditUnavailable`."""
        folder = Path(await asyncio.to_thread(partial(tempfile.mkdtemp, prefix="evidence-")))
        target = folder / "evidence.zip"
        try:
            async with self._turn:
                asked = _Asked(self._keys, self._most_events, now)
                await self._run(partial(_write_evidence, self._log, target, wanted=wanted, form=form, asked=asked))
            return Evidence(target, target.stat().st_size)
        except BaseException:
            shutil.rmtree(folder, ignore_errors=True)
            raise

    async def _run(self, work: Callable[[], _Result]) -> _Result:
        """The result of `work` in a new process, which is ended if nobody waits for it any more."""
        answers, answer = _CONTEXT.Pipe(duplex=False)
        process = _CONTEXT.Process(target=_answer, args=(answer, work), daemon=True)
        try:
            await asyncio.to_thread(process.start)
            answer.close()  # ours; the end of the process ends the pipe
            outcome = await asyncio.to_thread(answers.recv)
        except EOFError:
            raise GuardUnavailable("the process that reads the log was ended: it may lack memory") from None
        finally:
            if process.pid is not None:
                process.kill()
                process.join()
        answers.close()
        if isinstance(outcome, Exception):
            raise outcome
        result: _Result = outcome
        return result


def _answer(answer: Connection, work: Callable[[], object]) -> None:
    """In the new process: send the result, or the exception."""
    try:
        answer.send(work())
    except Exception as error:  # noqa: BLE001 -- the process that waits raises it
        answer.send(error if isinstance(error, GatewayError) else GuardUnavailable(f"a defect: {type(error).__name__}"))


def _write_evidence(log: Path, target: Path, *, wanted: Filter, form: Form, asked: _Asked) -> None:
    beside = folder_of(log).verifier_key()
    keys = dict.fromkeys([*([beside] if beside else []), *asked.keys])
    write_bundle(target, log, wanted, keys=keys, now=asked.now, form=form, most=asked.most_events)
