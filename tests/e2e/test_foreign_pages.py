"""Web pages of other sites, in a real browser: they can neither submit a job nor read one."""

import http.server
import json
import socket
import threading
from collections.abc import Iterator
from pathlib import Path

import httpx
import pytest
from playwright.sync_api import Page

from tests.e2e.gateway_alone import Gateway, gateway_alone

# A form needs no permission to be sent anywhere: browsers have always allowed it.
FORM = """<!DOCTYPE html>
<form method="post" enctype="multipart/form-data" action="{url}/jobs">
<input name="job" value='{{"processor": "any_name"}}'><input name="items" type="file">
</form>
<script>
const file = new DataTransfer();
file.items.add(new File(["1\\n"], "items.ndjson"));
document.querySelector("[name=items]").files = file.files;
</script>
"""


@pytest.fixture(scope="module")
def gateway(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Gateway]:
    with gateway_alone(tmp_path_factory.mktemp("gateway")) as gateway:
        yield gateway


@pytest.fixture
def foreign_port(gateway: Gateway) -> Iterator[int]:
    """A server of somebody else's, which has one page."""
    body = FORM.format(url=gateway.url).encode()

    class Handler(http.server.BaseHTTPRequestHandler):
        def do_GET(self) -> None:
            self.send_response(200)
            self.send_header("Content-Type", "text/html")
            self.send_header("Content-Length", str(len(body)))
            self.end_headers()
            self.wfile.write(body)

        def log_message(self, format: str, *arguments: object) -> None:  # noqa: A002
            """Say nothing."""

    with http.server.ThreadingHTTPServer(("127.0.0.1", 0), Handler) as server:
        threading.Thread(target=server.serve_forever, daemon=True).start()
        yield server.server_port
        server.shutdown()


# To a browser another port is another origin of the same site, another name another site.
@pytest.mark.parametrize("host", ["127.0.0.1", "localhost", "rebound.example"])
def test_a_form_of_another_origin_submits_nothing(
    page: Page, gateway: Gateway, foreign_port: int, host: str
) -> None:
    page.goto(f"http://{host}:{foreign_port}/")
    with page.expect_response(f"{gateway.url}/jobs") as answered:
        page.evaluate("document.querySelector('form').submit()")

    assert answered.value.status == 403
    assert json.loads(page.inner_text("body"))["code"] == "foreign_origin"
    assert httpx.get(f"{gateway.url}/jobs").json() == {"jobs": []}


def test_a_name_that_was_led_to_this_machine_is_not_answered(page: Page, gateway: Gateway) -> None:
    for path in ("/docs", "/jobs", "/livez"):
        answer = page.goto(f"http://rebound.example:{gateway.port}{path}")
        assert answer is not None
        assert (answer.status, answer.json()["code"]) == (421, "unknown_host")


def test_the_page_of_the_gateway_cannot_be_framed(
    page: Page, gateway: Gateway, foreign_port: int
) -> None:
    page.goto(f"http://127.0.0.1:{foreign_port}/")

    with page.expect_console_message(lambda message: "frame-ancestors" in message.text):
        page.set_content(f'<iframe src="{gateway.url}/docs"></iframe>')


def raw(gateway: Gateway, text: str) -> bytes:
    with socket.create_connection(("127.0.0.1", gateway.port), timeout=10) as connection:
        connection.sendall(text.encode())
        with connection.makefile("rb") as stream:
            return stream.read()


@pytest.mark.parametrize(
    ("request_text", "status"),
    [
        ("GET /livez HTTP/1.1\r\nHost: localhost", 200),
        ("GET /docs HTTP/1.1\r\nHost: localhost", 200),
        ("GET /docs/assets/swagger-ui.css HTTP/1.1\r\nHost: localhost", 200),
        ("GET /openapi.json HTTP/1.1\r\nHost: localhost", 200),
        ("GET / HTTP/1.1\r\nHost: localhost", 307),
        ("GET /nowhere HTTP/1.1\r\nHost: localhost", 404),
        ("GET /docs/assets/nowhere HTTP/1.1\r\nHost: localhost", 404),
        ("BREW /jobs HTTP/1.1\r\nHost: localhost", 400),
        ("PATCH /jobs HTTP/1.1\r\nHost: localhost", 405),
        ("POST /jobs HTTP/1.1\r\nHost: localhost\r\nOrigin: null\r\nContent-Length: 10", 403),
        ("POST /jobs HTTP/1.1\r\nHost: example.com\r\nContent-Length: 10", 421),
        ("GET /livez HTTP/1.0", 421),
        ("GET /docs HTTP/1.1", 421),
        ("GET /docs HTTP/1.1\r\nHost: localhost\r\nHost: localhost", 421),
        ("what is this", 400),
    ],
)
def test_no_answer_can_be_taken_for_something_else(
    gateway: Gateway, request_text: str, status: int
) -> None:
    head, _, _ = raw(gateway, f"{request_text}\r\nConnection: close\r\n\r\n").partition(b"\r\n\r\n")

    assert head.startswith(f"HTTP/1.1 {status} ".encode())
    assert head.lower().count(b"\r\nx-content-type-options: nosniff") == 1


def test_an_answer_without_news_and_a_stream_are_protected_too(gateway: Gateway) -> None:
    with httpx.Client(base_url=gateway.url) as api:
        job = api.post("/jobs", json={"chunks": [[1]], "processor": "any_name"})
        address, etag = job.headers["location"], job.headers["etag"]
        unchanged = api.get(address, headers={"If-None-Match": etag})
        stream = api.get(f"{address}/results")

    assert (unchanged.status_code, stream.status_code) == (304, 200)
    for answer in (job, unchanged, stream):
        assert answer.headers.get_list("x-content-type-options") == ["nosniff"]


def test_a_gateway_answers_for_the_names_it_was_given(tmp_path: Path) -> None:
    with gateway_alone(tmp_path, FANFOLD_ALLOWED_HOSTS="gateway, *.example.com") as gateway:
        statuses = {
            host: httpx.get(f"{gateway.url}/livez", headers={"Host": host}).status_code
            for host in ("gateway:8000", "jobs.example.com", "localhost", "example.com")
        }

    assert statuses.pop("example.com") == 421
    assert set(statuses.values()) == {200}
