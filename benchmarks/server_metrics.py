"""What the development server counts about itself: read from its Prometheus page."""

import http.client
import re
from collections import Counter
from collections.abc import Iterator

import psutil

from benchmarks.measurement import NotAvailable

PERSISTENCE = "persistence_requests"
"""Requests to the server's database by operation: each is a transaction or a read."""
VISIBILITY = "visibility_persistence_requests"
"""Requests to its table of workflows for lists and searches."""
ACTIONS = "action"
"""What the server itself counts as an action; on Temporal Cloud actions are what is paid for."""

_SAMPLE = re.compile(r"^(\w+)\{(.*)\} (\S+)$")
_LABEL = re.compile(r'(\w+)="([^"]*)"')
_LABEL_COUNTED_BY = {PERSISTENCE: "operation", VISIBILITY: "operation", ACTIONS: "action_type"}


class ServerMetrics:
    """A running server's counters."""

    def __init__(self, pid: int) -> None:
        """Find the page among the ports the server listens on: it is on a free one.

        Raises NotAvailable where there is none.
        """
        for port in _listening_ports(pid):
            if PERSISTENCE in _get(port):
                self._port = port
                return
        raise NotAvailable("the server's counters are not found")

    def read(self) -> dict[str, Counter[str]]:
        """Each counter by what it counts, summed over everything else."""
        read: dict[str, Counter[str]] = {name: Counter() for name in _LABEL_COUNTED_BY}
        for name, labels, value in _samples(_get(self._port)):
            if name in read:
                read[name][labels[_LABEL_COUNTED_BY[name]]] += round(value)
        return read


def _samples(page: str) -> Iterator[tuple[str, dict[str, str], float]]:
    for line in page.splitlines():
        if found := _SAMPLE.match(line):
            name, labels, value = found.groups()
            yield name, dict(_LABEL.findall(labels)), float(value)


def _listening_ports(pid: int) -> list[int]:
    connections = psutil.Process(pid).net_connections("tcp")
    return [one.laddr.port for one in connections if one.status == psutil.CONN_LISTEN]


def _get(port: int) -> str:
    connection = http.client.HTTPConnection("127.0.0.1", port, timeout=5)
    try:
        connection.request("GET", "/metrics")
        return connection.getresponse().read().decode(errors="replace")
    except (OSError, http.client.HTTPException):
        return ""  # one of its ports that speaks something else
    finally:
        connection.close()
