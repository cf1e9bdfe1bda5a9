"""Policy files -> bundle: names resolved across files, types checked, defaults filled in, all faults together."""

import datetime as dt
from collections.abc import Callable, Iterable, Mapping, Sequence
from typing import Any, Final, Protocol, TypeVar

import re2

from gateway.domain.definition import ListDefinition, PatternDefinition, TopicDefinition
from gateway.domain.errors import ConfigurationError, Fault, FaultsFound
from gateway.domain.vocabulary import Effect, Phase, SignalType
from gateway.policy.bundle import Bundle
from gateway.policy.compiled import (
    CompiledException,
    CompiledRule,
    CompiledScoring,
    Deadline,
    Dialogue,
    FieldMatch,
    Levels,
    Scope,
    Trial,
)
from gateway.policy.fields import ALIASES, FIELDS, FieldType
from gateway.policy.rules import RuleCompiler, escalation
from gateway.policy.schema import PolicyException, PolicySet
from gateway.policy.signals import detector_of
from gateway.policy.source import Source
from gateway.policy.trials import TrialReader
from gateway.policy.values import Vocabulary, read_words
from gateway.strict_yaml import Items, Node, quoted, suggestion

MAX_RULES: Final = 20_000  # far above any real bundle; a decision's index stays in memory


def compile_bundle(
    sources: Sequence[Source],
    faults: list[Fault],
    *,
    signals: Mapping[str, SignalType],
    now: dt.datetime,
    levels: Mapping[str, Levels],
    kinds: Mapping[str, Iterable[str]],
) -> Bundle:
    """The bundle of these files. Raises `FaultsFound` with the given and all further faults, `ConfigurationError`
    if there is no rule at all."""
    if now.tzinfo is None:
        raise ConfigurationError("`now` has no time zone: pass an aware time")
    compiler = _Compiler(sources, faults, signals, now, kinds)
    bundle = compiler.bundle(levels)
    if faults:
        raise FaultsFound(faults)
    if not bundle.rules:
        raise ConfigurationError("no policy rule found: the gateway does not start without one, check `policies`")
    return bundle


class _HasId(Protocol):
    @property
    def id(self) -> str: ...


D = TypeVar("D", bound=_HasId)


class _Compiler:
    def __init__(
        self,
        sources: Sequence[Source],
        faults: list[Fault],
        signals: Mapping[str, SignalType],
        now: dt.datetime,
        kinds: Mapping[str, Iterable[str]],
    ) -> None:
        self._sources = sources
        self._faults = faults
        self._now = now
        self._check_set_ids()
        self._lists = self._definitions("lists", _list)
        self._topics = self._definitions("topics", _topic)
        self._patterns = self._definitions("patterns", _pattern)
        defined: dict[str, SignalType] = {
            **{f"list.{one.id}": SignalType.FLAG for one in self._lists},
            **{f"pattern.{one.id}": SignalType.FLAG for one in self._patterns},
            **{f"topic.{one.id}": SignalType.SCORE for one in self._topics},
        }
        self._vocabulary = Vocabulary({**signals, **defined}, kinds)
        self._scopes = self._resolve_scopes()
        self._rule_ids = frozenset(rule.id for source in sources for rule in source.set.rules)

    def bundle(self, levels: Mapping[str, Levels]) -> Bundle:
        self._check_patterns()
        exceptions = self._exceptions()
        rules: list[CompiledRule] = []
        trials: list[Trial] = []
        dialogues: list[Dialogue] = []
        for source in self._sources:
            rules += self._rules(source, exceptions, trials)
            reader = TrialReader(source, self._vocabulary, self._rule_ids, self._faults)
            dialogues += [reader.dialogue(one) for one in source.set.conversations]
        if len(rules) > MAX_RULES:
            self._faults.append(Fault("", 0, 0, "POL019", f"{len(rules)} rules: the limit is {MAX_RULES}"))
        deadlines, min_versions = self._needs()
        return Bundle(
            rules=rules,
            exceptions=exceptions,
            scorings=[one for source in self._sources for one in self._scoring(source)],
            deadlines=deadlines,
            min_versions=min_versions,
            patterns=self._patterns,
            lists=self._lists,
            topics=self._topics,
            levels=levels,
            signals=self._vocabulary.signals,
            sources=self._sources,
            trials=trials,
            dialogues=dialogues,
        )

    def _check_set_ids(self) -> None:
        seen: dict[str, Node] = {}
        for source in self._sources:
            metadata = source.set.metadata
            node = source.document.node(metadata, "id")
            first = seen.setdefault(metadata.id, node)
            if first is not node:
                self._faults.append(_duplicate("set", metadata.id, node, first, "POL020"))

    # Definitions

    def _definitions(self, key: str, build: Callable[[str, Any], D]) -> tuple[D, ...]:
        """Definitions of one family over all files; the same one twice is one, two with one name are a fault."""
        found: dict[str, tuple[D, Node]] = {}
        for source in self._sources:
            for name, written in getattr(source.set, key).items():
                definition = build(name, written)
                node = source.document.node(written)
                first, place = found.setdefault(name, (definition, node))
                if first != definition:
                    where = f"{place.file}:{place.line}"
                    self._faults.append(
                        node.fault(
                            "POL009", f"{key} {quoted(name)} is already at {where} with other content: rename one"
                        )
                    )
        return tuple(definition for definition, _ in found.values())

    def _check_patterns(self) -> None:
        options = re2.Options()
        options.log_errors = False
        for source in self._sources:
            for name, written in source.set.patterns.items():
                node = source.document.node(written, "regex")
                try:
                    regex = re2.compile(written.regex, options)
                except re2.error as error:
                    reason = error.args[0] if error.args else ""
                    cause = reason.decode("utf-8", "replace") if isinstance(reason, bytes) else str(reason)
                    self._faults.append(
                        node.fault("POL010", f"regex of {quoted(name)} is not RE2: {' '.join(cause.split())}")
                    )
                    continue
                if regex.search("") is not None:
                    self._faults.append(
                        node.fault("POL010", f"regex of {quoted(name)} finds the empty text: narrow it")
                    )
                elif regex.search(written.example) is None:
                    example = source.document.node(written, "example")
                    self._faults.append(
                        example.fault("POL010", f"regex of {quoted(name)} does not find its example: correct one")
                    )

    # Scopes

    def _resolve_scopes(self) -> dict[str, frozenset[Scope]]:
        """Where the rules of each file apply: where its set does, and where each set that extends it does."""
        # By id too: the path of a set depends on which folder it was loaded from, its id does not.
        by_name = {source.set.metadata.id: source for source in self._sources}
        by_name |= {source.name: source for source in self._sources}
        scopes: dict[str, set[Scope]] = {source.name: set() for source in self._sources}
        for source in self._sources:
            scope = _scope(source.set)
            for name in self._ancestry(source, by_name):
                scopes[name].add(scope)
        everywhere = Scope()
        return {
            name: frozenset({everywhere}) if everywhere in some else frozenset(some) for name, some in scopes.items()
        }

    def _ancestry(self, source: Source, by_name: Mapping[str, Source]) -> set[str]:
        """The file and all that it extends, at any depth; a name that leads back to the file is a fault."""
        found = {source.name}
        waiting = [source]
        while waiting:
            one = waiting.pop()
            for index, name in enumerate(one.set.extends):
                parent = by_name.get(name)
                node = one.document.node(one.set, "extends", index)
                if parent is None:
                    if one is source:
                        near = suggestion(name, by_name.keys() - {source.name, source.set.metadata.id})
                        self._faults.append(node.fault("POL011", f"unknown set {quoted(name)}: {near}"))
                elif parent is source:
                    self._faults.append(
                        node.fault("POL011", f"{quoted(name)} extends itself through this line: remove it")
                    )
                elif parent.name not in found:
                    found.add(parent.name)
                    waiting.append(parent)
        return found

    # Rules, exceptions, scoring, needs

    def _rules(
        self, source: Source, exceptions: Sequence[CompiledException], trials: list[Trial]
    ) -> list[CompiledRule]:
        optional = frozenset(need.detector for need in source.set.needs.values() if not need.required)
        compiler = RuleCompiler(source, self._vocabulary, optional, self._scopes[source.name], self._faults)
        reader = TrialReader(source, self._vocabulary, self._rule_ids, self._faults)
        compiled = []
        for rule in source.set.rules:
            mine = tuple(sorted((one for one in exceptions if one.rule == rule.id), key=lambda one: one.id))
            found = compiler.compile(rule, mine)
            if found is not None:
                compiled.append(found)
                trials += reader.read(rule, found)
        return compiled

    def _exceptions(self) -> list[CompiledException]:
        rules: dict[str, Source] = {}
        seen: dict[str, Node] = {}
        for source in self._sources:
            for rule in source.set.rules:
                node = source.document.node(rule, "id")
                first = seen.setdefault(rule.id, node)
                rules.setdefault(rule.id, source)
                if first is not node:
                    self._faults.append(_duplicate("rule", rule.id, node, first, "POL001"))
        compiled = []
        for source in self._sources:
            for written in source.set.exceptions:
                node = source.document.node(written, "id")
                first = seen.setdefault(f"exception {written.id}", node)
                if first is not node:
                    self._faults.append(_duplicate("exception", written.id, node, first, "POL013"))
                found = self._exception(source, written, rules)
                if found is not None:
                    compiled.append(found)
        return compiled

    def _exception(
        self, source: Source, written: PolicyException, rules: Mapping[str, Source]
    ) -> CompiledException | None:
        document = source.document
        owner = rules.get(written.rule)
        if owner is None:
            node = document.node(written, "rule")
            message = f"unknown rule {quoted(written.rule)}: {suggestion(written.rule, rules)}"
            self._faults.append(node.fault("POL013", message))
            return None
        longest = owner.set.metadata.longest_exception_days
        until = dt.datetime.combine(written.expires, dt.time(), dt.UTC) + dt.timedelta(days=1)
        if longest is not None and until > self._now + dt.timedelta(days=longest + 1):
            node = document.node(written, "expires")
            message = (
                f"expires more than {longest} days ahead: `{owner.set.metadata.id}` allows no longer, choose earlier"
            )
            self._faults.append(node.fault("POL015", message))
        matches = []
        for name in written.match:
            match = self._match(name, document.node(written, "match", name))
            if match is not None:
                matches.append(match)
        return CompiledException(
            id=written.id,
            rule=written.rule,
            matches=tuple(sorted(matches, key=lambda one: one.field)),
            until=until,
            scopes=self._scopes[source.name],
        )

    def _match(self, written: str, node: Node) -> FieldMatch | None:
        name = ALIASES.get(written, written)
        field = FIELDS.get(name)
        if field is None or field.type not in {FieldType.TEXT, FieldType.KINDS}:
            known = [*ALIASES, *(one for one, its in FIELDS.items() if its.type in {FieldType.TEXT, FieldType.KINDS})]
            self._faults.append(node.fault("POL014", f"unknown field {quoted(written)}: {suggestion(written, known)}"))
            return None
        words = read_words(node.nodes if isinstance(node, Items) else (node,), field.values, self._faults, "POL014")
        if words is not None and not words:
            self._faults.append(node.fault("POL014", "no value to match: name one"))
        return None if words is None else FieldMatch(name, words)

    def _scoring(self, source: Source) -> list[CompiledScoring]:
        written = source.set.scoring
        if written is None:
            return []
        node = source.document.node(written)
        thresholds = {phase: score for phase in Phase if (score := getattr(written, phase.value)) is not None}
        if not thresholds:
            self._faults.append(
                node.fault("POL016", "no score: name one for `query`, `passage`, `answer` or `tool_call`")
            )
        if written.over.effect != "escalate" and (written.over.queue or written.over.sla):
            over = source.document.node(written.over)
            self._faults.append(over.fault("POL016", "`queue` and `sla` belong to `escalate`: remove them"))
        name = f"scoring:{source.set.metadata.id}"
        return [
            CompiledScoring(
                id=name,
                thresholds=thresholds,
                effect=Effect(written.over.effect),
                escalation=escalation(name, written.over.queue, written.over.sla, None),
                scopes=self._scopes[source.name],
            )
        ]

    def _needs(self) -> tuple[list[Deadline], dict[str, str]]:
        installed = {detector_of(signal): signal.partition(".")[0] for signal in self._vocabulary.signals}
        deadlines = []
        versions: dict[str, str] = {}
        for source in self._sources:
            for prefix, need in source.set.needs.items():
                node = source.document.node(need, "detector")
                expected = detector_of(prefix + ".")
                if need.detector != expected:
                    message = (
                        f"signals {quoted(prefix + '.…')} come from {quoted(expected)}: write `detector: {expected}`"
                    )
                    self._faults.append(node.fault("POL017", message))
                elif need.required and expected not in installed:
                    message = f"detector {quoted(expected)} is not installed: {suggestion(expected, installed)}"
                    self._faults.append(node.fault("POL017", message))
                if need.timeout_ms is not None:
                    scopes = self._scopes[source.name]
                    deadlines.append(Deadline(detector=expected, seconds=need.timeout_ms / 1000, scopes=scopes))
                if need.min_version != "0":
                    versions[expected] = max(versions.get(expected, "0"), need.min_version, key=_version)
        return deadlines, versions


def _list(name: str, written: Any) -> ListDefinition:
    return ListDefinition(
        id=name, values=tuple(sorted(set(written.values))), match=written.match, fold_case=written.fold_case
    )


def _topic(name: str, written: Any) -> TopicDefinition:
    return TopicDefinition(id=name, like=tuple(sorted(set(written.like))), unlike=tuple(sorted(set(written.unlike))))


def _pattern(name: str, written: Any) -> PatternDefinition:
    return PatternDefinition(id=name, regex=written.regex, example=written.example)


def _scope(written: PolicySet) -> Scope:
    def unique(names: tuple[str, ...]) -> tuple[str, ...]:
        return ("*",) if "*" in names else tuple(sorted(set(names)))

    where = written.applies_to
    return Scope(unique(where.tenants), unique(where.apps), unique(where.models), unique(where.groups))


def _version(text: str) -> list[int]:
    return [int(part) for part in text.split(".")]


def _duplicate(what: str, name: str, node: Node, first: Node, code: str) -> Fault:
    return node.fault(code, f"{what} {quoted(name)} is already at {first.file}:{first.line}: rename one")
