"""What every gateway does beside its requests: starts, checks, cancels and deletes jobs.

All that the gateway knows of Temporal is here. Imports `contract` and `ledger`.
"""
