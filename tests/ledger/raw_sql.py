"""The tables as they are, past the ledger's own operations."""

import sqlite3
from contextlib import closing
from pathlib import Path
from typing import Any

import psycopg

SQLITE = "sqlite:///"


def rows(url: str, sql: str) -> list[tuple[Any, ...]]:
    """What a query gives; what a statement changes is committed."""
    if url.startswith(SQLITE):
        with closing(sqlite3.connect(Path(url.removeprefix(SQLITE)))) as connection:
            found = connection.execute(sql).fetchall()
            connection.commit()
            return found
    with psycopg.connect(url, autocommit=True) as server:
        cursor = server.execute(sql.encode())
        return cursor.fetchall() if cursor.description else []


def tables(url: str) -> set[str]:
    """The names of all tables."""
    if url.startswith(SQLITE):
        found = rows(url, "SELECT name FROM sqlite_master WHERE type = 'table'")
    else:
        found = rows(url, "SELECT tablename FROM pg_tables WHERE schemaname = 'public'")
    return {name for (name,) in found}


def revisions(url: str) -> list[str]:
    """The migration the tables are at, one row."""
    return [revision for (revision,) in rows(url, "SELECT version_num FROM alembic_version")]
