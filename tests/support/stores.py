"""The stores that the contract of cases is tested on: SQLite always, PostgreSQL where `GATEWAY_TEST_POSTGRES` names a
server. A test owns the whole schema of that server."""

import os
import sqlite3
from contextlib import closing
from pathlib import Path
from typing import Any

import psycopg
import pytest

from gateway.cases.store import CaseStore, PostgresCaseStore, SqliteCaseStore
from gateway.domain.text import Secret

POSTGRES = os.environ.get("GATEWAY_TEST_POSTGRES", "")
needs_postgres = [
    pytest.mark.live,
    pytest.mark.skipif(not POSTGRES, reason="GATEWAY_TEST_POSTGRES names no PostgreSQL"),
]


class KeptCases:
    """A place for cases that may be opened more than once, and looked at from behind."""

    def __init__(self, kind: str, folder: Path, key: bytes) -> None:
        self.kind = kind
        self._path = folder / "cases.db"
        self._key = key
        self._opened: list[CaseStore] = []
        if kind == "postgres":
            self.run("DROP SCHEMA IF EXISTS gateway_cases CASCADE")

    def open(self, key: bytes | None = None) -> CaseStore:
        store: CaseStore
        if self.kind == "postgres":
            store = PostgresCaseStore.open(Secret(POSTGRES), key=key or self._key)
        else:
            store = SqliteCaseStore.open(self._path, key=key or self._key)
        self._opened.append(store)
        return store

    def run(self, sql: str) -> list[tuple[Any, ...]]:
        if self.kind == "postgres":
            with psycopg.connect(POSTGRES, options="-c search_path=gateway_cases") as connection:
                found = connection.execute(sql)
                return found.fetchall() if found.description else []
        with closing(sqlite3.connect(self._path)) as db, db:
            return db.execute(sql).fetchall()

    def everything(self) -> str:
        tables = ("cases", "history", "texts", "outbox", "views", "drills")
        return "".join(str(row) for table in tables for row in self.run(f"SELECT * FROM {table}"))

    def close(self) -> None:
        for store in self._opened:
            store.close()
