"""A compiled set of policies: immutable, shared by all threads, swapped as a whole."""

import datetime as dt
import hashlib
import json
from collections.abc import Mapping, Sequence
from functools import lru_cache
from typing import Any, Final

from gateway.domain.definition import ListDefinition, PatternDefinition, TopicDefinition
from gateway.domain.verdict import Evidence, FieldValue, Verdict
from gateway.domain.vocabulary import Phase, SignalType
from gateway.policy.compiled import (
    ALL_LEVELS,
    CompiledException,
    CompiledRule,
    CompiledScoring,
    Deadline,
    Dialogue,
    Levels,
    Scope,
    Trial,
    as_json,
)
from gateway.policy.condition import canonical
from gateway.policy.decide import decide
from gateway.policy.source import Source
from gateway.policy.view import View

_CALLERS: Final = 4096  # kinds of callers whose view is remembered; a miss costs microseconds a scope
_VIEWS: Final = 256  # distinct views; a miss costs about a millisecond per thousand rules
_DIGEST_FORM: Final = "gateway/policy-digest/v1"  # moves when the canonical form does


class Bundle:
    """All rules in force. `digest` identifies what they mean: layout, comments, order, titles and tests are not part
    of it; everything that can change a verdict or a text that a person reads because of one is. `files_digest` leaves
    the levels of apps out, which no policy file holds: it is what people sign.

    `levels` says per app how strict it is. Construct through `gateway.policy.load.load_bundle`.
    """

    def __init__(
        self,
        *,
        rules: Sequence[CompiledRule],
        exceptions: Sequence[CompiledException] = (),
        scorings: Sequence[CompiledScoring] = (),
        deadlines: Sequence[Deadline] = (),
        min_versions: Mapping[str, str] | None = None,
        patterns: Sequence[PatternDefinition] = (),
        lists: Sequence[ListDefinition] = (),
        topics: Sequence[TopicDefinition] = (),
        levels: Mapping[str, Levels] | None = None,
        signals: Mapping[str, SignalType] | None = None,
        sources: Sequence[Source] = (),
        trials: Sequence[Trial] = (),
        dialogues: Sequence[Dialogue] = (),
    ) -> None:
        self.rules: Final = tuple(sorted(rules, key=lambda rule: rule.id))
        self.exceptions: Final = tuple(sorted(exceptions, key=lambda one: one.id))
        self.scorings: Final = tuple(sorted(scorings, key=lambda one: one.id))
        self.patterns: Final = tuple(sorted(patterns, key=lambda one: one.id))
        self.lists: Final = tuple(sorted(lists, key=lambda one: one.id))
        self.topics: Final = tuple(sorted(topics, key=lambda one: one.id))
        self.signals: Final[Mapping[str, SignalType]] = dict(signals or {})
        self.sources: Final = tuple(sources)
        self.trials: Final = tuple(trials)
        self.dialogues: Final = tuple(dialogues)
        self.messages: Final = frozenset(rule.client_message for rule in self.rules if rule.client_message)
        self._deadlines = tuple(deadlines)
        self.min_versions: Final[Mapping[str, str]] = dict(min_versions or {})
        self._levels = dict(levels or {})
        scoped: list[CompiledRule | CompiledScoring] = [*self.rules, *self.scorings]
        self._scopes = sorted(frozenset[Scope]().union(*(one.scopes for one in scoped)))
        self.files_digest: Final = self._digest({})
        self.digest: Final = self._digest(self._levels) if self._levels else self.files_digest
        self._caller = lru_cache(maxsize=_CALLERS)(self._caller_view)
        self._fitting = lru_cache(maxsize=_VIEWS)(self._fitting_view)

    def __repr__(self) -> str:
        return f"Bundle({len(self.rules)} rules, {self.digest[:19]})"

    def decide(self, evidence: Evidence, *, now: dt.datetime) -> Verdict:
        """The verdict on one phase. Pure; `now` is aware and decides which exceptions are in force.

        `evidence.fields` MUST hold every field of its phase (`gateway.policy.fields`): a rule that asks for one
        that is missing takes its `on_error`.
        """
        return decide(evidence, view=self.view(evidence.phase, evidence.fields), policy=self.digest, now=now)

    def required(self, phase: Phase, fields: Mapping[str, FieldValue]) -> frozenset[str]:
        """Detectors whose signals the rules that apply here need in this phase."""
        return frozenset(name for name, _ in self.view(phase, fields).detectors)

    def timeouts(self, fields: Mapping[str, FieldValue]) -> Mapping[str, float]:
        """Seconds per detector where the sets that apply here name a deadline; the smallest counts."""
        found: dict[str, float] = {}
        for one in self._deadlines:
            if any(scope.fits(fields) for scope in one.scopes):
                found[one.detector] = min(one.seconds, found.get(one.detector, one.seconds))
        return found

    def authors(self, verdict: Verdict) -> frozenset[str]:
        """Owner and authors of the sets whose rules are the reasons of a verdict, and who approved the exceptions that
        lifted others."""
        sets = {source.set.metadata.id: source.set.metadata for source in self.sources}
        reasons, lifted = set(verdict.reasons), {outcome.exception for outcome in verdict.outcomes}
        own = {rule.set_id for rule in self.rules if rule.id in reasons}
        own |= {one.id.partition(":")[2] for one in self.scorings if one.id in reasons}
        found = {name for one in own if one in sets for name in (sets[one].owner, *sets[one].authors)}
        approvers = {
            exception.id: exception.approved_by for source in self.sources for exception in source.set.exceptions
        }
        return frozenset(found.union(*(approvers[one] for one in lifted if one in approvers)))

    def noted(self, fields: Mapping[str, FieldValue]) -> frozenset[str]:
        """Detectors of answers whose rules at most flag, also when they fail: no word need wait for them."""
        return self.view(Phase.ANSWER, fields).noted

    def whole_answer_rules(self, fields: Mapping[str, FieldValue]) -> tuple[str, ...]:
        """Ids of the rules that need the whole answer before any of it is released, sorted."""
        return self.view(Phase.ANSWER, fields).whole

    def view(self, phase: Phase, fields: Mapping[str, FieldValue]) -> View:
        """The rules that apply to a caller and model in a phase."""
        return self._caller(
            phase,
            fields.get("principal.tenant"),
            fields.get("principal.app"),
            fields.get("request.model"),
            fields.get("principal.groups"),
        )

    def _caller_view(self, phase: Phase, tenant: Any, app: Any, model: Any, groups: Any) -> View:
        named = {
            "principal.tenant": tenant,
            "principal.app": app,
            "request.model": model,
            "principal.groups": groups,
        }
        fields = {name: value for name, value in named.items() if value is not None}
        fitting = frozenset(scope for scope in self._scopes if scope.fits(fields))
        return self._fitting(phase, fitting, self._levels.get(str(app), ALL_LEVELS))

    def _fitting_view(self, phase: Phase, fitting: frozenset[Scope], levels: Levels) -> View:
        return View(
            phase,
            [rule for rule in self.rules if not rule.scopes.isdisjoint(fitting)],
            [one for one in self.scorings if not one.scopes.isdisjoint(fitting)],
            self.min_versions,
            levels,
        )

    def _digest(self, levels: Mapping[str, Levels]) -> str:
        form = {
            "form": _DIGEST_FORM,
            "rules": [canonical_rule(rule) for rule in self.rules],
            "exceptions": as_json(self.exceptions),
            "scorings": as_json(self.scorings),
            "deadlines": sorted((as_json(one) for one in self._deadlines), key=json.dumps),
            "min_versions": self.min_versions,
            "patterns": as_json(self.patterns),
            "lists": [{**as_json(one), "values": sorted(set(one.values))} for one in self.lists],
            "topics": [
                {"id": one.id, "like": sorted(set(one.like)), "unlike": sorted(set(one.unlike))} for one in self.topics
            ],
            "levels": as_json(levels),
        }
        text = json.dumps(form, sort_keys=True, separators=(",", ":"), ensure_ascii=True)
        return "sha256:" + hashlib.sha256(text.encode("ascii")).hexdigest()


_NOT_MEANING: Final = frozenset(
    {"set_id", "title", "test", "settled", "leaves", "triggers", "detectors", "field_names", "exceptions"}
)
"""What a rule has for people, or follows from the rest."""


def canonical_rule(rule: CompiledRule) -> dict[str, Any]:
    """What a rule means, as JSON values with one spelling: equal for rules that decide alike in all they say."""
    form = {name: as_json(getattr(rule, name)) for name in rule.__struct_fields__ if name not in _NOT_MEANING}
    return {**form, "condition": canonical(rule.condition)}
