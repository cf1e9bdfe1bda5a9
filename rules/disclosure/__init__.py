"""Texts that say of themselves that they must not leave the house, and answers that recite their instructions.

Finds: `disclosure.marking`, the markings of document headers and footers (a labelled classification, a standing
phrase such as "Not for onward distribution", a header in capitals, the Traffic Light Protocol) in English, German,
French, Spanish, Italian, Portuguese and Dutch; `disclosure.prompt`, sentences that quote a system prompt or its
delimiters. Ordinary prose that speaks of internal transfers or confidential advice is no marking: the phrase has to
stand for itself or be in capitals.

Misses: internal content without a marking, paraphrased instructions. `disclosure.prompt` is meant for answers; a
system message or a question that writes a prompt looks the same. Costs: one pass of 3 ns a byte.
"""

from rules.disclosure.detector import DisclosureDetector

__all__ = ["DisclosureDetector"]
