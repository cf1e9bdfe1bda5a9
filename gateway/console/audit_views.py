"""Saved views of the audit page: a name for an address, of one account alone."""

import re
from typing import Final
from urllib.parse import parse_qsl, urlencode

from msgspec import Struct

from gateway.console.audit_query import FIELDS
from gateway.console.database import ConsoleDatabase
from gateway.domain.errors import RequestError

_NAME: Final = re.compile(r"[^\W_][\w .:/()#-]{0,59}")
_MOST: Final = 50
_MOST_QUERY: Final = 2_000  # longer than any form of ours sends


class SavedView(Struct, frozen=True):
    name: str
    query: str


def saved_views(db: ConsoleDatabase, account: str) -> list[SavedView]:
    """Blocking, as everything of the database; by name."""
    return [SavedView(*row) for row in db.all("SELECT name, query FROM views WHERE account = ? ORDER BY name", account)]


def save_view(db: ConsoleDatabase, account: str, name: str, query: str) -> None:
    """Keep a view, or give its name to another query. Raises `RequestError` for a name that is none."""
    if not _NAME.fullmatch(name):
        raise RequestError(
            "a view's name has 1 to 60 letters, digits and `.:/()#-`, and begins with one of the former",
            code="invalid_value",
        )
    kept = urlencode([(field, value) for field, value in parse_qsl(query, keep_blank_values=True) if field in FIELDS])
    if len(kept) > _MOST_QUERY:
        raise RequestError("the view is too long to be kept", code="invalid_value")
    own = {view.name for view in saved_views(db, account)}
    if name not in own and len(own) >= _MOST:
        raise RequestError(f"an account keeps at most {_MOST} views: forget one first", code="too_many_views")
    db.write("INSERT OR REPLACE INTO views VALUES (?, ?, ?)", account, name, kept)


def forget_view(db: ConsoleDatabase, account: str, name: str) -> None:
    db.write("DELETE FROM views WHERE account = ? AND name = ?", account, name)
