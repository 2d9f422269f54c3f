"""What can go wrong for a client.

ClientError
├── Refused       the gateway answered with a problem; `code` names it
└── Unreachable   there was no answer, or none of a gateway
"""

from typing import Any


class ClientError(Exception):
    """The base of all client errors; the message is for people."""


class Unreachable(ClientError):
    """The gateway does not answer."""


class Refused(ClientError):
    """The gateway answered with problem details."""

    def __init__(self, status: int, problem: dict[str, Any]) -> None:
        """Keep the problem; see docs/errors.md for the codes."""
        self.status = status
        self.code: str = problem.get("code", "unknown")
        self.errors: list[dict[str, str]] = problem.get("errors", [])
        super().__init__(problem.get("detail") or f"the gateway answered {status}")
