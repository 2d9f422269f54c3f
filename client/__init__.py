"""The Python client, which users import from `fanfold`. Speaks HTTP only.

`calls.py` describes every request and how its answer is read, and does no I/O; `http.py` and
`async_http.py` are two thin shells that send what it describes. Data too large for memory goes
through `transfer.py`.
"""
