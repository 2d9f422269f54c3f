"""Writes openapi.yaml from the gateway's code; `--check` fails where the file is stale."""

import asyncio
import sys
from pathlib import Path

import yaml

from fanfold.app.main import create_app
from fanfold.contract.settings import GatewaySettings

PATH = Path(__file__).parents[1] / "openapi.yaml"
HEADER = "# Generated from the gateway's code by `make openapi`; do not edit.\n"


def main() -> int:
    """Write or check; the exit code."""
    document = create_app(GatewaySettings(), asyncio.Event()).openapi()
    text = HEADER + yaml.safe_dump(document, sort_keys=False, allow_unicode=True, width=100)
    if "--check" not in sys.argv[1:]:
        PATH.write_text(text)
        return 0
    if PATH.exists() and PATH.read_text() == text:
        return 0
    sys.stderr.write("openapi.yaml is stale; repair it with: make openapi\n")
    return 1


if __name__ == "__main__":
    sys.exit(main())
