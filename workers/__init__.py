"""The worker: workflows, the activities under them, processors and reducers.

Imports `contract` and `ledger`; never the gateway, never a web framework.
"""
