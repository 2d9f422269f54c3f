"""What every gateway does beside its requests: starts, checks, cancels and deletes jobs.

All that the gateway knows of the workflows of jobs is here. Imports `contract` and `ledger`.
"""
