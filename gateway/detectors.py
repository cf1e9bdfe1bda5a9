"""The detectors of this installation: part of the composition root, and with it the only place that names them.

A detector is built only if a rule in force refers to it: a gateway without a rule on names loads no name model.
"""

from collections.abc import Callable, Mapping, Sequence
from typing import Final

from gateway.domain.errors import ConfigurationError
from gateway.domain.ports import Detector, Embedder
from gateway.domain.vocabulary import Phase, Placement, SignalType
from gateway.enforce.growth import GrowthIndex
from gateway.policy.bundle import Bundle
from gateway.settings import InspectionSettings
from rules.disclosure.detector import DisclosureDetector
from rules.exfiltration.detector import ExfiltrationDetector
from rules.growing import GrowingMatches
from rules.guardrails_hub import GuardrailsDetector, load_validator
from rules.injection.detector import InjectionDetector
from rules.lists.detector import ListDetector
from rules.patterns.detector import PatternDetector
from rules.pii.detector import Pii, PiiPatterns
from rules.pii.rampart import packaged_files
from rules.secrets.detector import SecretDetector
from rules.topics.detector import TopicDetector

_FIXED: Final = (
    Pii,
    PiiPatterns,
    SecretDetector,
    InjectionDetector,
    ExfiltrationDetector,
    DisclosureDetector,
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


def build_detectors(bundle: Bundle, settings: InspectionSettings, embedder: Callable[[], Embedder]) -> list[Detector]:
    """The detectors that the bundle's rules need. Loads models: seconds for names, a fraction for embeddings."""
    needed = frozenset[str]().union(*(rule.detectors for rule in bundle.rules))
    makers: Mapping[str, Callable[[], Detector]] = {
        "pii": lambda: Pii(
            spacy_model=settings.spacy_model,
            rampart_files=packaged_files() if settings.second_name_model else None,
        ),
        "pii_patterns": PiiPatterns,
        "secrets": SecretDetector,
        "injection": lambda: InjectionDetector(embedder()),
        "exfiltration": lambda: ExfiltrationDetector(frozenset(settings.link_hosts)),
        "disclosure": DisclosureDetector,
        "patterns": lambda: PatternDetector(bundle.patterns),
        "lists": lambda: ListDetector(bundle.lists),
        "topics": lambda: TopicDetector(bundle.topics, embedder()),
    }
    detectors = [make() for name, make in makers.items() if name in needed]
    for entry in settings.guardrails:
        name, _, target = entry.partition("=")
        if name in makers:
            raise ConfigurationError(f"a guardrails validator cannot be named `{name}`: that is a detector of ours")
        if name in needed:
            detectors.append(GuardrailsDetector(name, load_validator(target)))
    return detectors


def growth_index(bundle: Bundle, detectors: Sequence[Detector]) -> GrowthIndex:
    """How answers are cut for each set of these detectors. That of all answer rules, which most callers have, is
    made now, since a thousand patterns take half a second: the first request does not wait for it."""
    index = GrowthIndex(
        {
            detector.name: getattr(detector, "growing", None) if detector.placement is Placement.INLINE else None
            for detector in detectors
        },
        GrowingMatches,
    )
    index.cut(frozenset[str]().union(*(rule.detectors for rule in bundle.rules if Phase.ANSWER in rule.phases)))
    return index


def _guardrails_name(entry: str) -> str:
    name, separator, target = entry.partition("=")
    if not separator or ":" not in target:
        raise ConfigurationError(f"`inspection.guardrails` entry `{entry}` must be `name=module:Class`")
    return name
