"""The detectors of this installation: part of the composition root, and with it the only place that names them.

A detector is built only if a rule in force refers to it: a gateway without a rule on names loads no name model.
"""

from collections.abc import Callable, Mapping, Sequence
from typing import Final

from gateway.domain.errors import ConfigurationError
from gateway.domain.ports import CitationCheck, Detector, Embedder
from gateway.domain.vocabulary import Phase, Placement, SignalType
from gateway.enforce.growth import GrowthIndex
from gateway.policy.bundle import Bundle
from gateway.settings import InspectionSettings
from rules.disclosure.detector import MARKING, PROMPT, DisclosureDetector
from rules.exfiltration.detector import EXFILTRATION_KINDS, ExfiltrationDetector
from rules.grounding.detector import CitationDetector, GroundingDetector
from rules.growing import GrowingMatches
from rules.guardrails_hub import GuardrailsDetector, load_validator
from rules.injection.detector import KINDS as INJECTION_SIGNAL
from rules.injection.detector import InjectionDetector
from rules.injection.structure import ENCODED, INVISIBLE, OTHER
from rules.injection.structure import KINDS as TECHNIQUES
from rules.lists.detector import ListDetector
from rules.patterns.detector import PatternDetector
from rules.pii.detector import OPTIONAL_KINDS, PATTERN_KINDS, Pii, PiiPatterns
from rules.pii.presidio import PRESIDIO_KINDS
from rules.pii.rampart import packaged_files
from rules.secrets.detector import SECRET_KINDS, SecretDetector
from rules.topics.detector import TopicDetector

_FIXED: Final = (
    Pii,
    PiiPatterns,
    SecretDetector,
    InjectionDetector,
    ExfiltrationDetector,
    DisclosureDetector,
    GroundingDetector,
    CitationDetector,
)


def installed_signals(settings: InspectionSettings) -> dict[str, SignalType]:
    """The signals that policies may refer to, by full name, besides those that policies define themselves."""
    found: dict[str, SignalType] = {}
    for detector in _FIXED:
        found.update(detector.signals)
    for entry in settings.guardrails:
        name = _guardrails_name(entry)
        found |= {f"{name}.failed": SignalType.FLAG, f"{name}.count": SignalType.COUNT}
    return found


def installed_kinds() -> dict[str, frozenset[str]]:
    """What the signals of kinds can report, by full name: a condition that names another kind could never hold.
    Loads no model."""
    return {
        "pii.entities": (PATTERN_KINDS | PRESIDIO_KINDS) - OPTIONAL_KINDS,
        "pii_patterns.entities": PATTERN_KINDS - OPTIONAL_KINDS,
        "secrets.kinds": SECRET_KINDS,
        INJECTION_SIGNAL: frozenset(TECHNIQUES) | {ENCODED, INVISIBLE, OTHER},
        "exfiltration.kinds": EXFILTRATION_KINDS,
        "disclosure.kinds": frozenset({MARKING, PROMPT}),
    }


def build_detectors(
    bundle: Bundle,
    settings: InspectionSettings,
    embedder: Callable[[], Embedder],
    *,
    known: Mapping[str, Detector] | None = None,
    phases: frozenset[Phase] = frozenset(Phase),
) -> list[Detector]:
    """The detectors that the bundle's rules need in some of the phases. Loads models: seconds for names, a fraction
    for embeddings.

    `known` are detectors that were built with the same settings and would be the same for this bundle, by name
    (`unchanged`): they are taken over.
    """
    known = known or {}
    needed = frozenset[str]().union(*(rule.detectors for rule in bundle.rules if rule.phases & phases))
    makers: Mapping[str, Callable[[], Detector]] = {
        "pii": lambda: Pii(
            spacy_model=settings.spacy_model,
            rampart_files=packaged_files() if settings.second_name_model else None,
            known_names=frozenset(settings.known_names),
        ),
        "pii_patterns": PiiPatterns,
        "secrets": SecretDetector,
        "injection": lambda: InjectionDetector(embedder()),
        "exfiltration": lambda: ExfiltrationDetector(frozenset(settings.link_hosts)),
        "disclosure": DisclosureDetector,
        "grounding": GroundingDetector,
        "citation": CitationDetector,
        "patterns": lambda: PatternDetector(bundle.patterns),
        "lists": lambda: ListDetector(bundle.lists),
        "topics": lambda: TopicDetector(bundle.topics, embedder()),
    }
    detectors = [known.get(name) or make() for name, make in makers.items() if name in needed]
    for entry in settings.guardrails:
        name, _, target = entry.partition("=")
        if name in makers:
            raise ConfigurationError(f"a guardrails validator cannot be named `{name}`: that is a detector of ours")
        if name in needed:
            detectors.append(known.get(name) or GuardrailsDetector(name, load_validator(target)))
    return detectors


def unchanged(detectors: Mapping[str, Detector], old: Bundle, new: Bundle) -> dict[str, Detector]:
    """Those of a bundle's detectors that would be the same for another bundle, by name."""
    of_policies = {
        "patterns": old.patterns == new.patterns,
        "lists": old.lists == new.lists,
        "topics": old.topics == new.topics,
    }
    return {name: one for name, one in detectors.items() if of_policies.get(name, True)}


def growth_index(bundle: Bundle, detectors: Sequence[Detector], known: GrowthIndex | None = None) -> GrowthIndex:
    """How answers are cut for each set of these detectors. That of all answer rules, which most callers have, is
    made now, since a thousand patterns take a second: the first request does not wait for it. `known` is the index
    of the same detectors, where there is one."""
    index = known or GrowthIndex(
        {
            detector.name: getattr(detector, "growing", None) if detector.placement is Placement.INLINE else None
            for detector in detectors
        },
        GrowingMatches,
    )
    index.cut(frozenset[str]().union(*(rule.detectors for rule in bundle.rules if Phase.ANSWER in rule.phases)))
    return index


def citation_check(detectors: Sequence[Detector]) -> CitationCheck | None:
    """What verifies the citations of answers, where a rule asks for that."""
    return next((one for one in detectors if isinstance(one, CitationDetector)), None)


def _guardrails_name(entry: str) -> str:
    name, separator, target = entry.partition("=")
    if not separator or ":" not in target:
        raise ConfigurationError(f"`inspection.guardrails` entry `{entry}` must be `name=module:Class`")
    return name
