"""The Dockerfile and docker-compose.yml, read for the tests that compare them with the code."""

import re
import shlex
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import yaml

from fanfold.contract import settings

ROOT = Path(__file__).parents[2]
COMPOSE_TEXT = (ROOT / "docker-compose.yml").read_text()
COMPOSE: dict[str, Any] = yaml.safe_load(COMPOSE_TEXT)
SERVICES: dict[str, dict[str, Any]] = COMPOSE["services"]
EXAMPLE_TEXT = (ROOT / ".env.example").read_text()

SETTINGS: Mapping[str, type[settings.LedgerSettings]] = {
    "gateway": settings.GatewaySettings,
    "worker": settings.WorkerSettings,
}
"""The two images, which are also two services, and the settings of each."""

VARIABLE = re.compile(r"\$\{(?P<name>\w+)(?::(?P<kind>[-?])(?P<text>[^}]*))?\}")
LOOKS_SECRET = re.compile(r"PASSWORD|PWD|SECRET|TOKEN|API_KEY|CREDENTIAL")


def filled_in(value: object) -> str:
    """The value with every variable at its default; `given` where it must be set."""
    return VARIABLE.sub(
        lambda found: "given" if found["kind"] == "?" else found["text"] or "", str(value)
    )


def environment(service: str) -> dict[str, str]:
    """A service's environment with every variable at its default."""
    given = SERVICES[service].get("environment", {})
    return {name: filled_in(value) for name, value in given.items()}


def one_shot_services() -> set[str]:
    """Those that set something up and end, which others wait for."""
    return {
        name
        for service in SERVICES.values()
        for name, needed in service.get("depends_on", {}).items()
        if needed["condition"] == "service_completed_successfully"
    }


def instructions(target: str) -> list[list[str]]:
    """The Dockerfile's instructions for a target, with those of the stages it stands on."""
    stages: dict[str, list[list[str]]] = {}
    bases: dict[str, str] = {}
    stage = ""
    for line in (ROOT / "Dockerfile").read_text().replace("\\\n", " ").splitlines():
        words = [] if line.startswith("#") else shlex.split(line)
        if words[:1] == ["FROM"]:
            _, base, _, stage = words
            bases[stage] = base
            stages[stage] = []
        elif words and stage:
            stages[stage].append(words)
    found: list[list[str]] = []
    while target in stages:
        found = stages[target] + found
        target = bases[target]
    return found


def copied(target: str) -> set[str]:
    """What of the repository the target's image holds."""
    sources: set[str] = set()
    for words in instructions(target):
        if words[0] == "COPY" and not words[1].startswith("--from"):
            sources.update(words[1:-1])
    return sources
