"""HTTP as such: headers, hosts, errors, streams, the server. Knows no job request and no answer.

Imports `contract` and `ledger`, and nothing else of `app`.
"""
