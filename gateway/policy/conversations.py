"""End-to-end tests on real text. Running detectors is not this package's business: the caller brings a judge."""

from collections.abc import Mapping
from typing import Protocol

from msgspec import Struct

from gateway.domain.grounds import NO_GROUNDS, Grounds
from gateway.domain.passage import Passage
from gateway.domain.verdict import FieldValue, Verdict
from gateway.domain.vocabulary import Effect, Phase, strictest
from gateway.policy.bundle import Bundle
from gateway.policy.compiled import Dialogue


class Judge(Protocol):
    """Inspects a text with the real detectors and decides with the bundle.

    `fields` are the facts that the conversation names; the judge supplies the others. An answer is made of `grounds`.
    """

    def __call__(
        self, bundle: Bundle, phase: Phase, text: str, fields: Mapping[str, FieldValue], grounds: Grounds
    ) -> Verdict: ...


class ConversationResult(Struct, frozen=True, kw_only=True):
    """`message` says what came out instead, "" for a conversation that passed."""

    name: str
    file: str
    line: int
    effect: Effect
    reasons: tuple[str, ...]
    message: str

    @property
    def passed(self) -> bool:
        return not self.message


def run_conversations(bundle: Bundle, judge: Judge) -> tuple[ConversationResult, ...]:
    """Every conversation of the bundle, in order of file and place. Blocks as long as the judge does."""
    return tuple(_run(bundle, judge, dialogue) for dialogue in bundle.dialogues)


def _grounds(dialogue: Dialogue) -> Grounds:
    """The passage of the conversation as an answer's only one."""
    if dialogue.passage is None:
        return NO_GROUNDS
    passage = Passage(doc="conversation", number=0, revision="", title="", text=dialogue.passage, access=frozenset())
    return Grounds(passages=(passage,), question=dialogue.query or "")


def _run(bundle: Bundle, judge: Judge, dialogue: Dialogue) -> ConversationResult:
    grounds = _grounds(dialogue)
    verdicts = [
        judge(bundle, phase, text, dialogue.fields, grounds if phase is Phase.ANSWER else NO_GROUNDS)
        for phase, text in (
            (Phase.QUERY, dialogue.query),
            (Phase.PASSAGE, dialogue.passage),
            (Phase.ANSWER, dialogue.answer),
        )
        if text is not None
    ]
    effect = strictest(*(verdict.effect for verdict in verdicts))
    reasons = tuple(sorted({reason for verdict in verdicts for reason in verdict.reasons}))
    missing = sorted(dialogue.rules - set(reasons))
    unwanted = sorted(dialogue.without & set(reasons))
    message = ""
    if effect is not dialogue.effect:
        because = f": {', '.join(reasons)}" if reasons else ""
        message = f"expected {dialogue.effect.value}, it is {effect.value}{because}"
    elif missing:
        message = f"expected reasons {', '.join(missing)} are missing: it has {', '.join(reasons) or 'none'}"
    elif unwanted:
        message = f"expected without {', '.join(unwanted)}: they are among its reasons"
    return ConversationResult(
        name=dialogue.name, file=dialogue.file, line=dialogue.line, effect=effect, reasons=reasons, message=message
    )
