"""Runs detectors over the texts of a phase: once per distinct text, in parallel, with deadlines, failing closed."""

from gateway.inspection.inspector import Inspector

__all__ = ["Inspector"]
