"""`gateway policy`."""

from gateway.commands.policy.group import policy

__all__ = ["policy"]
