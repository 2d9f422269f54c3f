"""What an upload is compared with: the same file read line by line and inserted into SQLite.

`python -m benchmarks.plain_insert FILE DATABASE`, a process of its own; prints one object of
JSON: seconds, rows, and the most memory it had. Each line is parsed, to know that it is
JSON, and kept as it is, a row each; 1,000 rows a transaction, as durable as the ledger's.
"""

import gzip
import json
import os
import sqlite3
import sys
import time
from itertools import islice
from pathlib import Path

from benchmarks.memory import watched

_BATCH = 1_000


def insert(file: Path, database: Path) -> dict[str, float]:
    """Read, parse, insert."""
    started = time.perf_counter()
    connection = sqlite3.connect(database, isolation_level=None)
    connection.execute("PRAGMA journal_mode = WAL")
    connection.execute("PRAGMA synchronous = FULL")
    connection.execute("CREATE TABLE items (number INTEGER PRIMARY KEY, item TEXT NOT NULL)")
    rows = 0
    with gzip.open(file, "rt") if file.suffix == ".gz" else file.open() as lines:
        while batch := list(islice(lines, _BATCH)):
            for line in batch:
                json.loads(line)
            connection.execute("BEGIN")
            connection.executemany(
                "INSERT INTO items VALUES (?, ?)",
                ((rows + number, line.rstrip("\n")) for number, line in enumerate(batch)),
            )
            connection.execute("COMMIT")
            rows += len(batch)
    connection.close()
    seconds = time.perf_counter() - started
    return {"seconds": seconds, "rows": rows}


if __name__ == "__main__":
    with watched({"self": os.getpid()}) as _memory:
        _figures = insert(Path(sys.argv[1]), Path(sys.argv[2]))
    _figures["peak_mib"] = _memory.peaks_mib["self"]
    sys.stdout.write(json.dumps(_figures) + "\n")
