"""A file of many items, one JSON object of about 100 bytes a line, the same on every machine."""

import gzip
import json
import random
import shutil
from pathlib import Path

_SEED = 3
_COUNTRIES = ("FI", "SE", "NO", "DK", "EE", "LV", "LT", "IS", "DE", "PL")
_GZIP_LEVEL = 6


def write_items(file: Path, count: int) -> None:
    """Write so many items as NDJSON; each has a `country` to be counted by."""
    dice = random.Random(_SEED)  # noqa: S311 - repeatable on purpose
    with file.open("w") as lines:
        for number in range(count):
            item = {
                "id": number,
                "country": dice.choice(_COUNTRIES),
                "value": round(dice.uniform(0, 1_000), 3),
                "reference": f"{dice.getrandbits(128):032x}",
            }
            lines.write(json.dumps(item) + "\n")


def compress(file: Path) -> Path:
    """The same with gzip, beside it."""
    compressed = file.with_name(file.name + ".gz")
    with file.open("rb") as plain, gzip.open(compressed, "wb", _GZIP_LEVEL) as output:
        shutil.copyfileobj(plain, output, 1024 * 1024)
    return compressed
