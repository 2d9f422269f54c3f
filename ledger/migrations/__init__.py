"""The ledger's tables, as versioned, forward-only Alembic migrations."""
