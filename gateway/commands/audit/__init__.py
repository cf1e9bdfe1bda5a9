"""`gateway audit`."""

from gateway.commands.audit.group import audit

__all__ = ["audit"]
