"""Counts of what a node does, for Prometheus: derived from its audit events, summed over its workers."""
