"""A job as JSON, as clients get it from the gateway, and workflows from `SubmitJob`.

Imports `contract` and `ledger`.
"""
