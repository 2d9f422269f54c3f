"""Requests of other sites' pages are answered before the app sees them, all others reach it."""

import asyncio
import json
from typing import Any

import pytest
from starlette.types import Message, Receive, Scope, Send

from fanfold.app.http.hosts import AllowedHosts
from fanfold.app.http.protection import Protection

OWN = "http://localhost:8000"
UNSAFE = ["POST", "PUT", "PATCH", "DELETE", "BREW"]
SAFE = ["GET", "HEAD", "OPTIONS"]


def ask(
    method: str = "GET",
    *headers: tuple[str, str],
    host: str | None = "localhost:8000",
    scheme: str = "http",
) -> tuple[int, str | None]:
    """The status, and the code of the problem; the app behind answers 204."""
    sent: list[Message] = []

    async def app(_scope: Scope, _receive: Receive, send: Send) -> None:
        await send({"type": "http.response.start", "status": 204, "headers": []})
        await send({"type": "http.response.body", "body": b""})

    async def receive() -> Message:
        raise AssertionError("the body was read")

    async def send(message: Message) -> None:
        sent.append(message)

    all_headers = [("host", host), *headers] if host is not None else [*headers]
    scope: dict[str, Any] = {
        "type": "http",
        "method": method,
        "scheme": scheme,
        "path": "/jobs",
        "headers": [(name.encode(), value.encode("latin-1")) for name, value in all_headers],
    }
    asyncio.run(Protection(app, AllowedHosts("127.0.0.1", []))(scope, receive, send))
    body = sent[1]["body"]
    return sent[0]["status"], json.loads(body)["code"] if body else None


@pytest.mark.parametrize("method", [*SAFE, *UNSAFE])
def test_a_client_that_is_no_browser_notices_nothing(method: str) -> None:
    assert ask(method) == (204, None)


@pytest.mark.parametrize("method", [*SAFE, *UNSAFE])
@pytest.mark.parametrize("host", ["example.com", "localhost:x", ""])
def test_a_host_that_is_not_allowed_is_refused_for_every_method(method: str, host: str) -> None:
    assert ask(method, host=host) == (421, "unknown_host")


def test_a_request_without_a_host_or_with_two_is_refused() -> None:
    assert ask(host=None) == (421, "unknown_host")
    assert ask("GET", ("host", "localhost:8000")) == (421, "unknown_host")


def test_what_a_proxy_is_said_to_have_been_asked_for_does_not_count() -> None:
    forwarded = ("x-forwarded-host", "localhost")
    assert ask("GET", forwarded, host="example.com") == (421, "unknown_host")
    assert ask("GET", ("x-forwarded-host", "example.com")) == (204, None)


@pytest.mark.parametrize("method", UNSAFE)
@pytest.mark.parametrize(
    "origin",
    [
        "http://example.com",
        "https://localhost:8000",
        "http://localhost",
        "http://localhost:8001",
        "http://127.0.0.1:8000",
        "http://localhost:8000.example.com",
        "null",
        "",
        "localhost:8000",
        "file://",
    ],
)
@pytest.mark.parametrize("site", [None, "cross-site", "same-site", "none"])
def test_a_page_of_another_origin_cannot_change_anything(
    method: str, origin: str, site: str | None
) -> None:
    headers = [("origin", origin)] + ([("sec-fetch-site", site)] if site else [])
    assert ask(method, *headers) == (403, "foreign_origin")


@pytest.mark.parametrize("method", UNSAFE)
def test_a_browser_that_says_cross_site_is_believed_without_an_origin(method: str) -> None:
    assert ask(method, ("sec-fetch-site", "cross-site")) == (403, "foreign_origin")
    assert ask(method, ("origin", OWN), ("sec-fetch-site", "cross-site"))[0] == 403


@pytest.mark.parametrize("method", UNSAFE)
@pytest.mark.parametrize("site", [None, "same-origin", "none"])
def test_a_page_of_the_gateway_itself_may_do_all(method: str, site: str | None) -> None:
    headers = [("origin", OWN)] + ([("sec-fetch-site", site)] if site else [])
    assert ask(method, *headers) == (204, None)


@pytest.mark.parametrize("method", SAFE)
def test_what_changes_nothing_may_be_asked_for_from_anywhere(method: str) -> None:
    headers = [("origin", "http://example.com"), ("sec-fetch-site", "cross-site")]
    assert ask(method, *headers) == (204, None)


@pytest.mark.parametrize(
    ("scheme", "host", "origin"),
    [
        ("http", "localhost", "http://localhost"),
        ("http", "localhost:80", "http://localhost"),
        ("https", "localhost:443", "https://localhost"),
        ("http", "[::1]:8000", "http://[::1]:8000"),
        ("http", "LOCALHOST:8000", "http://localhost:8000"),
    ],
)
def test_a_port_that_goes_without_saying_need_not_be_said(
    scheme: str, host: str, origin: str
) -> None:
    assert ask("POST", ("origin", origin), host=host, scheme=scheme) == (204, None)


def test_behind_a_proxy_that_does_tls_the_browser_s_own_word_counts() -> None:
    origin = ("origin", "https://localhost")
    assert ask("POST", origin, host="localhost")[0] == 403
    assert ask("POST", origin, ("sec-fetch-site", "same-origin"), host="localhost")[0] == 204
    other = ("origin", "https://example.com")
    assert ask("POST", other, ("sec-fetch-site", "same-origin"), host="localhost")[0] == 403


def test_hosts_that_clients_make_up_are_not_all_remembered() -> None:
    protection = Protection(lambda *_: None, AllowedHosts("127.0.0.1", []))  # type: ignore[arg-type]
    for number in range(1000):
        assert protection._allows(f"{number}.localhost".encode())
    assert protection._allows.cache_info().currsize <= 256
