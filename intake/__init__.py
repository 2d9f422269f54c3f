"""What checks the body of a job, and makes of it what the ledger records.

The gateway and the workers take jobs by it alike. What is wrong with one is an `InvalidJob`
(`faults`), with a pointer to each fault. Imports `contract` and `ledger`; nothing of HTTP, nothing
of Temporal.
"""
