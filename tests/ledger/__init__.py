"""The ledger on SQLite and on PostgreSQL: one suite, run on both."""
