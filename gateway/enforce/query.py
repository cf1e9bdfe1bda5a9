"""Step 6: the request's body as the verdict on the query lets it go on."""

from collections.abc import Iterable, Sequence

from msgspec import Struct

from gateway.domain.model import Body
from gateway.domain.signal import Finding, by_segment
from gateway.domain.verdict import Redaction
from gateway.enforce.redaction import Redactor
from gateway.wire.chat import Prompt, with_texts


class RedactedPrompt(Struct, frozen=True, kw_only=True):
    """A prompt's body and its last question after redaction. Unless `possible`, a redaction could not be carried out:
    then neither may be used. `kinds` counts the spans that were replaced."""

    body: Body
    question: str = ""
    kinds: dict[str, int] = {}
    possible: bool = True

    def __repr__(self) -> str:
        return f"RedactedPrompt({self.kinds})"


def redact_prompt(
    prompt: Prompt, findings: Iterable[Finding], redactions: Sequence[Redaction], redactor: Redactor
) -> RedactedPrompt:
    """The prompt with every finding replaced that a redaction names. A text without an address cannot be edited."""
    replaced: dict[int, str] = {}
    kinds: dict[str, int] = {}
    found = by_segment(findings)
    for segment in prompt.segments:
        own = found.get(segment.index)
        if own is None:
            continue
        redacted = redactor.redact(segment, own, redactions, brought=True)
        if redacted.text == segment.text:
            continue
        if not segment.address:
            return RedactedPrompt(body=prompt.body, kinds=kinds, possible=False)
        replaced[segment.index] = redacted.text
        for kind, count in redacted.kinds.items():
            kinds[kind] = kinds.get(kind, 0) + count
    return RedactedPrompt(
        body=with_texts(prompt.body, prompt.segments, replaced),
        question=next(
            (replaced.get(s.index, s.text) for s in prompt.segments if s.address == prompt.question_address), ""
        ),
        kinds=kinds,
    )
