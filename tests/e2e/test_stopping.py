"""A gateway that is stopped answers whoever waits, and breaks off cleanly what takes too long."""

import json
import os
import signal
import socket
from collections.abc import Callable
from pathlib import Path

import httpx
import pytest

from fanfold.devstack.running import RunningStack
from tests.e2e.faults import is_alive
from tests.e2e.gateway_alone import Gateway, gateway_alone
from tests.e2e.journeys import run
from tests.waiting import eventually

BODY = json.dumps({"chunks": [[1]], "processor": "any_name"}).encode()


def send(port: int, head: str, body: bytes = b"") -> socket.socket:
    """A request under way, on a connection of its own."""
    connection = socket.create_connection(("127.0.0.1", port), timeout=30)
    connection.sendall(f"{head}\r\nHost: localhost\r\n\r\n".encode() + body)
    return connection


def answer(connection: socket.socket) -> tuple[int, dict[str, str], bytes]:
    """The whole answer, up to the end of the connection."""
    with connection, connection.makefile("rb") as stream:
        head, _, body = stream.read().partition(b"\r\n\r\n")
    status, *lines = head.decode().split("\r\n")
    headers = {name.lower(): value for name, _, value in (line.partition(": ") for line in lines)}
    return int(status.split()[1]), headers, body


def stop(gateway: Gateway, number: signal.Signals = signal.SIGTERM) -> None:
    # Answered after the requests before it were read, so those are under way.
    httpx.get(f"{gateway.url}/livez")
    gateway.process.send_signal(number)


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT])
def test_who_waits_for_a_job_is_answered_with_the_job_as_it_is(
    tmp_path: Path, number: signal.Signals
) -> None:
    with gateway_alone(tmp_path) as gateway:
        job_id = httpx.post(
            f"{gateway.url}/jobs", content=BODY, headers={"Content-Type": "application/json"}
        ).json()["id"]
        submitting = send(
            gateway.port,
            "POST /jobs HTTP/1.1\r\nPrefer: wait=60\r\nContent-Type: application/json\r\n"
            f"Content-Length: {len(BODY)}",
            BODY,
        )
        polling = [
            send(gateway.port, f"GET /jobs/{job_id} HTTP/1.1\r\nPrefer: wait=60") for _ in range(20)
        ]
        eventually(
            lambda: len(httpx.get(f"{gateway.url}/jobs").json()["jobs"]) == 2,
            what="the second job is recorded",
        )

        stop(gateway, number)

        status, headers, body = answer(submitting)
        assert (status, headers["preference-applied"]) == (202, "wait=60")
        assert (json.loads(body)["state"], headers["retry-after"]) == ("pending", "1")
        for connection in polling:
            status, headers, body = answer(connection)
            assert (status, headers["preference-applied"]) == (200, "wait=60")
            assert (json.loads(body)["id"], json.loads(body)["state"]) == (job_id, "pending")
        assert gateway.process.wait(timeout=4) == 0
        assert "Traceback" not in gateway.log()


def test_an_upload_that_does_not_end_in_time_is_told_to_try_again(tmp_path: Path) -> None:
    with gateway_alone(tmp_path) as gateway:
        sending = send(
            gateway.port,
            "POST /jobs HTTP/1.1\r\nContent-Type: multipart/form-data; boundary=x\r\n"
            "Content-Length: 100000",
            b'--x\r\nContent-Disposition: form-data; name="job"\r\n\r\n',
        )

        stop(gateway)

        status, headers, body = answer(sending)
        assert (status, headers["retry-after"]) == (503, "2")
        assert json.loads(body)["code"] == "gateway_stopping"
        assert gateway.process.wait(timeout=10) == 0
        assert "Traceback" not in gateway.log()


def test_results_that_nobody_takes_end_without_their_closing_chunk(
    new_stack: Callable[..., RunningStack],
) -> None:
    stack = new_stack()
    with httpx.Client(base_url=stack.url, timeout=60) as api:
        items = [str(number) * 900_000 for number in range(10)]
        job = run(api, items=items * 3, chunk_size=1, processor="transform")
    gateway = stack.pid("gateway")
    streaming = send(stack.http_port, f"GET /jobs/{job['id']}/results HTTP/1.1")
    assert streaming.recv(1000).startswith(b"HTTP/1.1 200 OK\r\n")

    os.kill(gateway, signal.SIGTERM)
    eventually(lambda: not is_alive(gateway), what="the gateway has stopped")

    with streaming, streaming.makefile("rb") as stream:
        assert not stream.read().endswith(b"0\r\n\r\n")
    assert "Traceback" not in (stack.data_dir / "logs" / "gateway.log").read_text()
