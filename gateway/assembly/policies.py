"""Makes what a change of policies brings into force: bundle, detectors, inspector and cuts in one rulebook."""

import asyncio
import signal
from collections.abc import Callable
from contextlib import AsyncExitStack, suppress
from datetime import datetime
from pathlib import Path

from msgspec import structs

from gateway.conversing import converse
from gateway.detectors import (
    build_detectors,
    citation_check,
    growth_index,
    installed_kinds,
    installed_signals,
    unchanged,
)
from gateway.domain.errors import ConfigurationError
from gateway.domain.ports import AuditLog, Detector, Embedder
from gateway.exchange import Candidate, Rulebook
from gateway.inspection.inspector import Inspector
from gateway.inspection.kept_scans import KeptScans
from gateway.policy.bundle import Bundle
from gateway.policy.compiled import ALL_LEVELS, Levels
from gateway.policy.load import compile_files
from gateway.policy.signing import public_keys
from gateway.rollout.admission import Signers, check_conversations, check_signatures, check_trials
from gateway.rollout.edition import Edition, Look, look, read_edition
from gateway.rollout.record import place_of
from gateway.rollout.rollout import Prepared, Reading, Rollout
from gateway.rollout.shelf import Shelf
from gateway.settings import Settings
from gateway.settings.folder import POLICY_DIR


class PolicyWorkshop:
    """`Workshop` over the installed detectors. What loads a model is made once and taken over by what comes later."""

    def __init__(
        self,
        settings: Settings,
        *,
        embedder: Embedder,
        cache_key: bytes,
        kept: KeptScans | None = None,
        now: Callable[[], datetime],
        clock_us: Callable[[], int],
    ) -> None:
        """`kept` are scans of passages from their ingest.

        `now` is aware, `clock_us` monotonic. Raises `ConfigurationError` for keys that cannot be read. Blocking."""
        self._settings = settings
        self._embedder = embedder
        self._cache_key = cache_key
        self._kept = kept
        self._now = now
        self._clock_us = clock_us
        required = settings.policy.require_signatures
        self._manifest: Path | None = required.manifest if required else None
        self._signers = Signers(keys=public_keys(required.keys), approvals=required.approvals) if required else None

    def look(self) -> Look:
        watched = look(self._settings.policies, self._manifest)
        candidate = self._settings.policy.candidate
        return watched + look(candidate, None) if candidate else watched

    def read(self) -> Reading:
        candidate = self._settings.policy.candidate
        return Reading(
            edition=read_edition(self._settings.policies, self._manifest),
            candidate=read_edition(candidate, None) if candidate else None,
        )

    def compile(self, edition: Edition) -> Bundle:
        if edition.fault:
            raise ConfigurationError(edition.fault)
        return compile_files(
            edition.files,
            signals=installed_signals(self._settings.inspection),
            kinds=installed_kinds(),
            levels=_levels(self._settings),
            now=self._now(),
        )

    def prepare(self, reading: Reading, current: Prepared[Rulebook] | None) -> Prepared[Rulebook]:
        if current is not None and reading.edition.digest == current.reading.edition.digest:
            bundle, approved_by, rulebook = current.bundle, current.approved_by, current.rulebook
        else:
            bundle = self.compile(reading.edition)
            approved_by = check_signatures(reading.edition, bundle, self._signers) if self._signers else ()
            if self._settings.policy.selftest != "off":
                check_trials(bundle, now=self._now())
            rulebook = self._rulebook(bundle, current)
        earlier = current.rulebook.candidate if current else None
        candidate, error = self._candidate(reading.candidate, rulebook, bundle, earlier)
        return Prepared(
            reading=reading,
            bundle=bundle,
            rulebook=structs.replace(rulebook, candidate=candidate),
            approved_by=approved_by,
            candidate=candidate.policy.digest if candidate else "",
            candidate_error=error,
        )

    def _rulebook(self, bundle: Bundle, current: Prepared[Rulebook] | None) -> Rulebook:
        inspection = self._settings.inspection
        before = _inspector(current.rulebook).detectors if current else {}
        known = unchanged(before, current.bundle, bundle) if current else {}
        detectors = build_detectors(bundle, inspection, lambda: self._embedder, known=known)
        if self._settings.policy.selftest == "conversations":
            check_conversations(converse(bundle, inspection, detectors))
        if current is None:
            inspector = Inspector(
                detectors,
                threads=inspection.threads,
                cache_bytes=inspection.cache_bytes,
                cache_key=self._cache_key,
                clock_us=self._clock_us,
                kept=self._kept,
            )
        else:
            inspector = _inspector(current.rulebook).with_detectors(detectors)
        same = current is not None and inspector.detectors == before
        growth = growth_index(bundle, detectors, current.rulebook.growth if current and same else None)
        return Rulebook(policy=bundle, inspector=inspector, growth=growth, citations=citation_check(detectors))

    def _candidate(
        self, edition: Edition | None, rulebook: Rulebook, in_force: Bundle, earlier: Candidate | None
    ) -> tuple[Candidate | None, str]:
        """The candidate, or why there is none: whatever is wrong with it harms nobody."""
        if edition is None:
            return None, ""
        shared = _inspector(rulebook).detectors
        try:
            bundle = self.compile(edition)
            known = {**_known(earlier, bundle), **unchanged(shared, in_force, bundle)}
            detectors = build_detectors(bundle, self._settings.inspection, lambda: self._embedder, known=known)
            inspector = _inspector(rulebook).with_detectors(detectors)
        except Exception as error:  # noqa: BLE001 -- as promised
            return None, place_of(error)
        own = frozenset(one.name for one in detectors if shared.get(one.name) is not one)
        timeout_s = self._settings.policy.candidate_timeout_s
        return Candidate(policy=bundle, inspector=inspector, own=own, timeout_s=timeout_s), ""


async def open_policies(
    workshop: PolicyWorkshop, settings: Settings, data: Path, audit: AuditLog, closing: AsyncExitStack
) -> Rollout[Rulebook]:
    """The policies in force, followed from now on: every `policy.reload_s`, and at SIGHUP where this is the main
    thread. Raises `ConfigurationError` and `AuditUnavailable`: the gateway does not start."""
    rollout = Rollout(workshop, Shelf(data / POLICY_DIR), audit, reload_s=settings.policy.reload_s)
    await rollout.begin()
    closing.callback(lambda: _close(rollout.rulebook()))
    rollout.start()
    closing.push_async_callback(rollout.stop)
    loop = asyncio.get_running_loop()
    with suppress(ValueError, RuntimeError, NotImplementedError):  # not the main thread
        loop.add_signal_handler(signal.SIGHUP, rollout.wake)
        closing.callback(loop.remove_signal_handler, signal.SIGHUP)
    return rollout


def _levels(settings: Settings) -> dict[str, Levels]:
    """How strict each app is, where it is not as strict as can be."""
    levels = {name: Levels(enforce=app.enforce_level, observe=app.observe_level) for name, app in settings.apps.items()}
    return {name: one for name, one in levels.items() if one != ALL_LEVELS}


def _inspector(rulebook: Rulebook) -> Inspector:
    assert isinstance(rulebook.inspector, Inspector)  # every rulebook here is of our making
    return rulebook.inspector


def _known(candidate: Candidate | None, bundle: Bundle) -> dict[str, Detector]:
    """What an earlier candidate has that another can take over: a model of its own is loaded once."""
    if candidate is None or not isinstance(candidate.inspector, Inspector) or not isinstance(candidate.policy, Bundle):
        return {}
    return unchanged(candidate.inspector.detectors, candidate.policy, bundle)


def _close(rulebook: Rulebook) -> None:
    _inspector(rulebook).close()
    if rulebook.candidate is not None and isinstance(rulebook.candidate.inspector, Inspector):
        rulebook.candidate.inspector.close()
