"""Personal data: the detectors `pii` (patterns and models) and `pii_patterns` (patterns alone, inline)."""

from rules.pii.detector import OPTIONAL_KINDS, PATTERN_KINDS, Pii, PiiPatterns
from rules.pii.rampart import packaged_files

__all__ = ["OPTIONAL_KINDS", "PATTERN_KINDS", "Pii", "PiiPatterns", "packaged_files"]
