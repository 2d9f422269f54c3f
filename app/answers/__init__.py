"""What clients get back of a job's data: children as JSON, results as CSV.

Imports `fanfold.answers`, `contract` and `ledger`.
"""
