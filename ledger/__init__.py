"""The data plane: every job, chunk, input, outcome and result, in an SQL database.

The only SQL in the project. `connect` opens it; `jobs`, `chunks` and `catalog` are
its operations, written once in SQL that both databases speak; `database` is the port
to them and `databases/` holds SQLite and PostgreSQL. Imports `contract` only.
"""
