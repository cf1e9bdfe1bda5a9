"""Word lists that a policy author keeps: product names, competitors, forbidden terms.

Finds: each value as a whole word, as a substring, or as the whole text; a phrase may span any white space. By
default case does not matter (`STRASSE` is `straße`), nor do hidden characters and look-alike letters. Misses:
inflected forms and misspellings: list them. Costs: one pass of about 4 ns a byte for all lists together, with
thousands of values.
"""

from rules.lists.detector import ListDetector

__all__ = ["ListDetector"]
