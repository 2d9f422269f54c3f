"""From a request to a recorded job: read, checked by `fanfold.intake`, written to the ledger.

`recording` begins here for every request that submits a job. `uploads` takes data of any
size, in a form or in parts: a thread of the upload's own makes chunks of it, which
`pipeline` feeds through a small buffer. What becomes of the data there is in `items`.

Imports `fanfold.app.http`, `fanfold.intake`, `contract` and `ledger`.
"""
