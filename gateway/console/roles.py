"""What people may do in the console, and which page is for whom."""

from enum import StrEnum
from typing import Final

from msgspec import Struct

from gateway.cases.case import REVIEWER
from gateway.cases.machine import LEAD


class Role(StrEnum):
    REVIEWER = "reviewer"  # decides cases
    LEAD = "lead"  # decides cases, answers for the queue, may break the glass
    AUDITOR = "auditor"  # reads what happened
    AUTHOR = "author"  # writes policies
    ADMIN = "admin"  # runs the gateway; sees no case


_CASE_ROLES: Final = {Role.REVIEWER: frozenset({REVIEWER}), Role.LEAD: frozenset({REVIEWER, LEAD})}


def case_roles(roles: frozenset[Role]) -> frozenset[str]:
    """The roles of `gateway.cases` that somebody with these has."""
    return frozenset[str]().union(*(_CASE_ROLES.get(role, frozenset()) for role in roles))


class Page(Struct, frozen=True, kw_only=True):
    """An entry of the navigation. `path` is below the console's own; its controllers carry the same `roles`."""

    path: str
    title: str
    roles: frozenset[Role]
