"""What an answer may be made of, for detectors that judge an answer by it."""

import hashlib
from enum import StrEnum

from msgspec import Struct

from gateway.domain.passage import Passage


class Support(StrEnum):
    """What passages say of a sentence. `unknown` never passes as support."""

    SUPPORTED = "supported"
    CONTRADICTED = "contradicted"
    UNSUPPORTED = "unsupported"
    UNKNOWN = "unknown"  # there are no passages, or they are in another language


class Grounds(Struct, frozen=True, kw_only=True, eq=False):
    """The passages that the model was shown, as it was shown them and in the order of their numbers, and the question.

    Compared by identity: there is one an exchange.
    """

    passages: tuple[Passage, ...] = ()
    question: str = ""

    @property
    def digest(self) -> bytes:
        """16 bytes that stand for all that a detector can see of them."""
        found = hashlib.blake2b(digest_size=16)
        for passage in self.passages:
            for part in (passage.title, passage.section, passage.text):
                found.update(len(part).to_bytes(8, "big") + part.encode("utf-8", "surrogatepass"))
        found.update(self.question.encode("utf-8", "surrogatepass"))
        return found.digest()

    def __repr__(self) -> str:
        return f"Grounds({len(self.passages)} passages)"


NO_GROUNDS = Grounds()
