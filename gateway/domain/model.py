"""What is asked of a model and what it answers, in the wire's own JSON shapes."""

from typing import Any

from msgspec import Struct

from gateway.domain.passage import Passage

Body = dict[str, Any]
"""A decoded JSON object in the OpenAI wire format."""


class ModelRequest(Struct, frozen=True, kw_only=True):
    """A judged and edited request. `body` is ready to send but for `model`, which the router sets; `passages`
    and `question` serve models that read structure instead of a prompt (`extractive`)."""

    model: str  # the name the client used
    body: Body
    passages: tuple[Passage, ...] = ()
    question: str = ""
    exchange: str = ""  # sent upstream as x-request-id

    def __repr__(self) -> str:
        return f"ModelRequest({self.model!r}, {len(self.passages)} passages)"


class ModelReply(Struct, frozen=True, kw_only=True):
    """A whole answer. `provider` and `model` say who gave it after routing and fallbacks."""

    body: Body
    provider: str
    model: str

    def __repr__(self) -> str:
        return f"ModelReply({self.provider!r}, {self.model!r})"
