"""The generated parts of the packs' documents: what rules each pack has."""

from collections.abc import Iterator
from datetime import UTC, datetime
from pathlib import Path
from typing import Final

from gateway.detectors import installed_kinds, installed_signals
from gateway.domain.vocabulary import Effect, Phase
from gateway.policy import Bundle, load_bundle
from gateway.policy.compiled import CompiledRule
from gateway.settings import InspectionSettings

PACKS: Final = Path(__file__).parents[2] / "policies"
NAMES: Final = tuple(sorted(folder.name for folder in PACKS.iterdir() if folder.is_dir()))


def rules_of(pack: str) -> str:
    """The rules of the sets of a pack, as a table."""
    return "\n".join(_rows(_packs(), pack))


def _packs() -> Bundle:
    # The rules of a bundle do not depend on the day; only exceptions do.
    signals, kinds = installed_signals(InspectionSettings()), installed_kinds()
    return load_bundle([PACKS], signals=signals, kinds=kinds, now=datetime(2026, 1, 1, tzinfo=UTC))


def _rows(bundle: Bundle, pack: str) -> Iterator[str]:
    yield "| rule | demands | looks at | does |\n|---|---|---|---|"
    for rule in bundle.rules:
        if rule.set_id.partition("/")[0] == pack:
            phases = ", ".join(phase.value.replace("_", " ") for phase in Phase if phase in rule.phases)
            yield f"| `{rule.id}` | {rule.title} | {phases} | {_effect(rule)} |"


def _effect(rule: CompiledRule) -> str:
    words = [rule.effect.value]
    if rule.effect is Effect.ESCALATE:
        asked = rule.escalation
        words.append(f"to `{asked.queue}` within {_time(asked.sla_s)}")
        words += [f"{asked.approvals} approvals"] * (asked.approvals > 1)
    if rule.redact is not None:
        words.append(f"with `{rule.redact.operator.value}`")
    words += ["with a sentence added"] * bool(rule.disclaimer)
    words += [f"tells {', '.join(rule.notify)}"] * bool(rule.notify)
    return ", ".join(words)


def _time(seconds: int) -> str:
    for size, unit in ((86400, "day"), (3600, "hour"), (60, "minute")):
        if seconds % size == 0:
            return f"{seconds // size} {unit}{'s' * (seconds != size)}"
    return f"{seconds} seconds"
