"""What clients get back: jobs and children as JSON, results as CSV.

Imports `contract` and `ledger`.
"""
