"""One rule as written -> one compiled rule."""

from collections.abc import Mapping
from typing import Final

import msgspec

from gateway.domain.errors import Fault
from gateway.domain.verdict import Escalation
from gateway.domain.vocabulary import Effect, Phase, RedactOperator, RuleMode, SignalType, strictest
from gateway.policy.compiled import CompiledException, CompiledRule, RedactPlan, Scope, Share
from gateway.policy.condition import Condition, Operator, atoms, compile_settled, compile_test, leaves, positive_atoms
from gateway.policy.conditions import ConditionReader
from gateway.policy.schema import Canary, Release, Rule, Severity
from gateway.policy.source import Source
from gateway.policy.triggers import triggers
from gateway.policy.values import Vocabulary

DEFAULT_QUEUE: Final = "default"
DEFAULT_SLA_S: Final = 8 * 3600  # a working day

_BY_SEVERITY: Final[Mapping[Severity, Effect]] = {
    Severity.CRITICAL: Effect.REFUSE,
    Severity.HIGH: Effect.ESCALATE,
    Severity.MEDIUM: Effect.FLAG,
    Severity.LOW: Effect.FLAG,
}
_SECONDS: Final = {"s": 1, "m": 60, "h": 3600, "d": 86400}


def default_on_error(severity: Severity, effect: Effect) -> Effect:
    """What a rule does when a signal it needs is missing and its author did not say: by severity, and never looser
    than its own effect. A failed detector leaves no spans to redact, so `redact` counts as `refuse`."""
    return strictest(_BY_SEVERITY[severity], Effect.REFUSE if effect is Effect.REDACT else effect)


def escalation(rule: str, queue: str | None, sla: str | None, approvals: int | None) -> Escalation:
    """What an escalation asks for, with the defaults."""
    seconds = int(sla[:-1]) * _SECONDS[sla[-1]] if sla else DEFAULT_SLA_S
    return Escalation(rule=rule, queue=queue or DEFAULT_QUEUE, sla_s=seconds, approvals=approvals or 1)


def with_condition(rule: CompiledRule, condition: Condition) -> CompiledRule:
    """The same rule with another condition, in normal form; what it redacts stays."""
    named = atoms(condition)
    return msgspec.structs.replace(
        rule,
        condition=condition,
        test=compile_test(condition),
        settled=compile_settled(condition),
        leaves=leaves(condition),
        triggers=triggers(condition),
        detectors=frozenset(atom.detector for atom in named if atom.is_signal),
        field_names=frozenset(atom.name for atom in named if not atom.is_signal),
    )


class RuleCompiler:
    """Compiles the rules of one file."""

    def __init__(
        self,
        source: Source,
        vocabulary: Vocabulary,
        optional: frozenset[str],
        scopes: frozenset[Scope],
        faults: list[Fault],
    ) -> None:
        self._source = source
        self._scopes = scopes
        self._faults = faults
        self._conditions = ConditionReader(source.document, vocabulary, optional, faults)

    def compile(self, rule: Rule, exceptions: tuple[CompiledException, ...]) -> CompiledRule | None:
        """The compiled rule, `None` if its condition has a fault. Other faults are appended."""
        phases = frozenset({rule.phase} if isinstance(rule.phase, Phase) else rule.phase)
        if not phases:
            self._fault(rule, "POL018", "no phase: name one", "phase")
        condition = self._conditions.read(rule.when, phases)
        self._check_then(rule)
        self._check_on_error(rule)
        self._check_release(rule, phases)
        if condition is None:
            return None
        then, named = rule.then, atoms(condition)
        mode, share = RuleMode.ENFORCE, None
        if isinstance(rule.mode, Canary):
            mode, share = RuleMode.CANARY, Share(rule.mode.canary, rule.mode.by)
        elif rule.mode == "shadow":
            mode = RuleMode.SHADOW
        whole = then.effect is Effect.ESCALATE or rule.release is Release.WHOLE
        return CompiledRule(
            id=rule.id,
            set_id=self._source.set.metadata.id,
            title=rule.title,
            phases=phases,
            severity=rule.severity,
            level=rule.level,
            provenances=frozenset(rule.provenance),
            condition=condition,
            test=compile_test(condition),
            settled=compile_settled(condition),
            leaves=leaves(condition),
            triggers=triggers(condition),
            detectors=frozenset(atom.detector for atom in named if atom.is_signal),
            field_names=frozenset(atom.name for atom in named if not atom.is_signal),
            effect=then.effect,
            on_error=rule.on_error or default_on_error(rule.severity, then.effect),
            mode=mode,
            share=share,
            redact=self._redact_plan(rule, condition) if then.effect is Effect.REDACT else None,
            escalation=escalation(rule.id, then.queue, then.sla, then.approvals),
            cite=then.cite,
            disclaimer=then.disclaimer or "",
            notify=tuple(sorted(set(then.notify))),
            whole=whole and Phase.ANSWER in phases,
            client_message=rule.message.client,
            reviewer_message=rule.message.reviewer,
            scopes=self._scopes,
            exceptions=exceptions,
        )

    def _redact_plan(self, rule: Rule, condition: Condition) -> RedactPlan:
        kinds: set[str] = set(rule.then.entities or ())
        of: set[str] = set()
        if rule.then.entities is None:
            for atom in positive_atoms(condition):
                if atom.type is SignalType.FLAG and atom.operand is True:
                    kinds.add(atom.name)
                elif atom.type is SignalType.KINDS and isinstance(atom.operand, frozenset):
                    kinds |= atom.operand if atom.operator is not Operator.NONE_OF else frozenset()
                elif atom.type is SignalType.KINDS and atom.operator is Operator.EMPTY and atom.operand is False:
                    of.add(atom.name)
            if not kinds and not of and "entities" not in self._source.document.node(rule.then).keys:
                self._fault(rule, "POL022", "nothing says which kinds to redact: add `entities`", "then")
        operator = rule.then.operator or RedactOperator.MASK
        return RedactPlan(kinds=frozenset(kinds), of=frozenset(of), operator=operator)

    def _check_then(self, rule: Rule) -> None:
        then = rule.then
        for key, given, effect in (
            ("entities", then.entities, Effect.REDACT),
            ("with", then.operator, Effect.REDACT),
            ("queue", then.queue, Effect.ESCALATE),
            ("sla", then.sla, Effect.ESCALATE),
            ("approvals", then.approvals, Effect.ESCALATE),
        ):
            # Whoever may end up escalating by `on_error` may say where to.
            escalates = effect is Effect.ESCALATE and rule.on_error is Effect.ESCALATE
            if given is not None and then.effect is not effect and not escalates:
                message = f"`{key}` belongs to `effect: {effect.value}`, not `{then.effect.value}`: remove it"
                self._faults.append(self._source.document.node(then, key).fault("POL007", message))

    def _check_on_error(self, rule: Rule) -> None:
        if rule.on_error is Effect.REDACT:
            message = "a failed detector leaves nothing to redact: use `flag`, `escalate` or `refuse`"
            self._fault(rule, "POL008", message, "on_error")
        elif rule.on_error is Effect.ALLOW and rule.severity in {Severity.CRITICAL, Severity.HIGH}:
            message = f"a rule of severity `{rule.severity.value}` may not allow on error: use `flag` or stricter"
            self._fault(rule, "POL008", message, "on_error")

    def _check_release(self, rule: Rule, phases: frozenset[Phase]) -> None:
        if rule.release is not None and Phase.ANSWER not in phases:
            self._fault(rule, "POL023", "`release` is about answers: remove it, or add phase `answer`", "release")
        elif rule.release is Release.SENTENCE and rule.then.effect is Effect.ESCALATE:
            message = "a person decides on the whole answer: `escalate` needs `release: whole`, remove the key"
            self._fault(rule, "POL023", message, "release")

    def _fault(self, rule: Rule, code: str, message: str, key: str) -> None:
        self._faults.append(self._source.document.node(rule, key).fault(code, message))
