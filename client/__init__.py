"""The Python client, which users import from `fanfold`. Speaks HTTP only.

`calls.py`, `steering.py` and `schedules.py` describe every request and how its answer is read, in
the terms of `exchange.py`, and do no I/O; `http.py` and `async_http.py` are two thin shells that
send what is described. Data too large for memory goes through `transfer.py`.
"""
