"""The embeddings request: its texts, and its edits by address."""

from gateway.domain.errors import RequestError
from gateway.domain.model import Body
from gateway.domain.segment import Address, Segment
from gateway.domain.vocabulary import Provenance
from gateway.wire.body import at
from gateway.wire.chat import Prompt, check_lengths, other_segments


def read_embedding_prompt(body: Body, *, max_inputs: int, max_text_chars: int) -> Prompt:
    """Check a decoded body and find its texts. Raises `RequestError` naming the parameter.

    Token arrays are refused: they are text that no detector could read.
    """
    model = body.get("model")
    if not isinstance(model, str) or not model:
        raise RequestError("`model` must be a non-empty string", param="model")
    given = body.get("input")
    addresses: list[Address]
    if isinstance(given, str):
        addresses = [("input",)]
    elif isinstance(given, list) and given and all(isinstance(item, str) for item in given):
        addresses = [("input", index) for index in range(len(given))]
    elif isinstance(given, list) and given:
        raise RequestError("`input` must hold texts: arrays of tokens cannot be inspected", param="input")
    else:
        raise RequestError("`input` must be a text or a non-empty array of texts", param="input")
    if len(addresses) > max_inputs:
        raise RequestError(f"`input` has more than {max_inputs} entries", param="input", status=413)
    if not all(at(body, address) for address in addresses):
        raise RequestError("`input` must not hold empty texts", param="input")
    segments = [
        Segment(index=index, text=at(body, address), provenance=Provenance.USER, address=address)
        for index, address in enumerate(addresses)
    ]
    segments.extend(other_segments(body, beside="input", first=len(segments)))
    check_lengths(segments, max_text_chars)
    return Prompt(
        body=body,
        model=model,
        stream=False,
        include_usage=False,
        json_answer=False,
        segments=tuple(segments),
        question="",
        question_address=(),
        unscanned=frozenset(),
        tools=frozenset(),
        quarantined=0,
    )


def inputs_of(body: Body) -> tuple[str, ...]:
    """The texts of a checked body, in order."""
    given = body["input"]
    return (given,) if isinstance(given, str) else tuple(given)
