"""The pattern tier's recognisers, one module a field of life."""

from rules.pii.patterns.address import ADDRESS
from rules.pii.patterns.contact import CONTACT
from rules.pii.patterns.finance import FINANCE
from rules.pii.patterns.health import HEALTH
from rules.pii.patterns.national import NATIONAL
from rules.pii.patterns.person import PERSON

PATTERNS = (*CONTACT, *FINANCE, *HEALTH, *NATIONAL, *PERSON, *ADDRESS)

__all__ = ["PATTERNS"]
