"""What every audit event holds, member by member."""

from gateway.audit.schema.events import EVENTS
from gateway.audit.schema.published import dictionary, event_schema, fault_of

__all__ = ["EVENTS", "dictionary", "event_schema", "fault_of"]
