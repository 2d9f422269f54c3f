"""The Python client, and what the command line stands on. Speaks HTTP only.

from fanfold.client.http import Fanfold

with Fanfold("http://localhost:8000") as fanfold:
    job = fanfold.submit({"items": [1, 2, 3], "processor": "double", "reducer": "sum"})
    print(fanfold.wait(job.id).result)
"""
