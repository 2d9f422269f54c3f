"""The gateway: HTTP in front, the ledger and Temporal behind. No user code runs here.

Imports `contract` and `ledger`; never `workers`.
"""
