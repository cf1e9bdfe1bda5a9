"""Patterns that a policy author writes as regular expressions.

Finds: every place where an expression matches the text as received or, where that differs, as a reader sees it
(full-width digits, hidden characters). Misses: what RE2 cannot say (look-around, back references); `\\b` and
`\\w` know ASCII only. Costs: about 3 ns a byte for all patterns together, whether ten or a thousand.
"""

from rules.patterns.detector import PatternDetector

__all__ = ["PatternDetector"]
