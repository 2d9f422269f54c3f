"""The agency: an HTTP service that books, and that runs out, hangs up and has too much to do.

A booking has an address of its own, of the caller's choice: `PUT` books, and again changes nothing;
`DELETE` cancels, and again changes nothing.
"""

import json
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any

NONE_LEFT = {("car", "KEF"), ("hotel", "NRT"), ("flight", "OSL")}
HANGS_UP = {("hotel", "KEF"), ("flight", "NRT"), ("car", "LIS")}
"""Whose booking is made, but at first not answered."""
IS_BUSY = {("flight", "KEF"), ("hotel", "LIS"), ("car", "CPH")}
"""Whose first request is to come again later."""


class Agency(ThreadingHTTPServer):
    """What has been booked, over HTTP on the loopback interface."""

    daemon_threads = True

    def __init__(self, delay_seconds: float = 0.0) -> None:
        """Listen on a free port; every request takes so long."""
        super().__init__(("127.0.0.1", 0), _Request)
        self._delay_seconds = delay_seconds
        self._lock = threading.Lock()
        self._requests: set[str] = set()
        self._bookings: dict[str, dict[str, Any]] = {}

    @property
    def url(self) -> str:
        """Where it listens."""
        return f"http://127.0.0.1:{self.server_port}"

    def bookings(self) -> list[dict[str, Any]]:
        """Everything that was ever booked, with its `state`: booked or cancelled."""
        with self._lock:
            return [dict(booking) for booking in self._bookings.values()]

    def book(self, address: str, asked: dict[str, Any]) -> tuple[int, dict[str, Any]]:
        """The status and what to answer; status 0: hang up."""
        time.sleep(self._delay_seconds)
        what = (asked["kind"], asked["place"])
        with self._lock:
            is_first = address not in self._requests
            self._requests.add(address)
            if what in NONE_LEFT:
                return 409, {"message": f"no {asked['kind']} left at {asked['place']}"}
            if what in IS_BUSY and is_first:
                return 503, {"message": "too much to do"}
            booking = self._bookings.setdefault(
                address, {**asked, "address": address, "state": "booked"}
            )
            return (0 if what in HANGS_UP and is_first else 200), booking

    def cancel(self, address: str) -> tuple[int, dict[str, Any]]:
        """The status and what to answer."""
        time.sleep(self._delay_seconds)
        with self._lock:
            booking = self._bookings.get(address)
            if booking is None:
                return 404, {"message": "never booked"}
            booking["state"] = "cancelled"
            return 200, booking


class _Request(BaseHTTPRequestHandler):
    server: Agency

    def do_PUT(self) -> None:
        asked = json.loads(self.rfile.read(int(self.headers["Content-Length"])))
        self._answer(*self.server.book(self.path, asked))

    def do_DELETE(self) -> None:
        self._answer(*self.server.cancel(self.path))

    def _answer(self, status: int, document: dict[str, Any]) -> None:
        if not status:
            self.connection.close()
            return
        body = json.dumps(document).encode()
        self.send_response(status)
        if status == 503:  # noqa: PLR2004 - Service Unavailable
            self.send_header("Retry-After", "1")
        self.send_header("Content-Type", "application/json")
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        self.wfile.write(body)

    def log_message(self, *_: object) -> None:
        """Say nothing: the terminal shows the job."""


@contextmanager
def open_agency(delay_seconds: float = 0.0) -> Iterator[Agency]:
    """An agency that answers as long as the block lasts."""
    with Agency(delay_seconds) as agency:
        threading.Thread(target=agency.serve_forever, daemon=True).start()
        try:
            yield agency
        finally:
            agency.shutdown()
