"""`gateway sources`: what is in the index, who sees it, where it came from, and how it leaves."""

from gateway.commands.sources.group import sources

__all__ = ["sources"]
