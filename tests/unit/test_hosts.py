"""Which `Host` headers the gateway answers: no name that another site could lead here."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from fanfold.app.http.hosts import AllowedHosts, host_in

ON_LOOPBACK = AllowedHosts("127.0.0.1", [])
ON_ALL = AllowedHosts("0.0.0.0", [])  # noqa: S104 - what a container listens on
NAMED = AllowedHosts("0.0.0.0", ["Jobs.Example.com", "*.internal", "[2001:DB8::1]"])  # noqa: S104

LOCAL = [
    "localhost",
    "localhost:8000",
    "LOCALHOST:8000",
    "localhost.",
    "localhost.:8000",
    "fanfold.localhost",
    "a.b.localhost:1",
    "127.0.0.1",
    "127.0.0.1:8000",
    "127.255.255.254:65535",
    "[::1]",
    "[::1]:8000",
    "[0:0:0:0:0:0:0:1]:8000",
    "localhost:",
]
ADDRESSES = ["192.168.1.5", "10.0.0.1:8000", "[fe80::1]:8000", "0.0.0.0:8000"]
FOREIGN_NAMES = [
    "example.com",
    "example.com:8000",
    "localhost.example.com",
    "notlocalhost",
    "127.0.0.1.example.com",
    "xn--localhost",
    "127.1",
    "2130706433",
    "0177.0.0.1",
]
MALFORMED = [
    "",
    ":8000",
    " ",
    ".",
    "..",
    ".localhost",
    "a..localhost",
    "localhost:8000:8000",
    "localhost:port",
    "localhost:800000",
    "localhost/",
    "user@localhost",
    "localhost, localhost",
    "local host",
    "localhost\n",
    "localhöst",
    "::1",
    "[::1",
    "::1]",
    "[localhost]",
    "[127.0.0.1]",
    "[::1]8000",
    "[::1%25lo]",
    "[::g]",
    "[:::]",
    "http://localhost",
]


@pytest.mark.parametrize("hosts", [ON_LOOPBACK, ON_ALL, NAMED])
@pytest.mark.parametrize("header", LOCAL)
def test_localhost_is_answered_wherever_the_gateway_listens(
    hosts: AllowedHosts, header: str
) -> None:
    assert hosts.allow(header)


@pytest.mark.parametrize("header", ADDRESSES)
def test_other_addresses_are_answered_only_where_the_gateway_listens_to_others(header: str) -> None:
    assert not ON_LOOPBACK.allow(header)
    assert ON_ALL.allow(header)


@pytest.mark.parametrize("hosts", [ON_LOOPBACK, ON_ALL, NAMED])
@pytest.mark.parametrize("header", FOREIGN_NAMES)
def test_a_name_that_nobody_allowed_is_not_answered(hosts: AllowedHosts, header: str) -> None:
    assert not hosts.allow(header)


@pytest.mark.parametrize("named", [[], ["*"]])
@pytest.mark.parametrize("header", MALFORMED)
def test_a_malformed_host_is_never_answered(named: list[str], header: str) -> None:
    assert not AllowedHosts("0.0.0.0", named).allow(header)  # noqa: S104


@pytest.mark.parametrize(
    ("header", "is_allowed"),
    [
        ("jobs.example.com", True),
        ("JOBS.example.com.:8443", True),
        ("www.jobs.example.com", False),
        ("example.com", False),
        ("a.internal", True),
        ("a.b.internal:80", True),
        ("internal", False),
        ("ainternal", False),
        ("[2001:db8:0:0::1]", True),
    ],
)
def test_a_named_host_is_answered_and_a_star_stands_for_all_names_below(
    header: str, *, is_allowed: bool
) -> None:
    assert NAMED.allow(header) is is_allowed


def test_a_name_counts_on_loopback_too_where_a_proxy_hands_it_on() -> None:
    assert AllowedHosts("127.0.0.1", ["jobs.example.com"]).allow("jobs.example.com")


def test_the_name_that_the_gateway_listens_on_is_answered() -> None:
    hosts = AllowedHosts("Fanfold.lan", [])
    assert hosts.allow("fanfold.lan:8000")
    assert not hosts.allow("other.lan:8000")


@pytest.mark.parametrize("listens_on", ["localhost", "LOCALHOST", "127.0.0.2", "::1"])
def test_loopback_has_many_names(listens_on: str) -> None:
    assert not AllowedHosts(listens_on, []).allow("192.168.1.5")


@pytest.mark.parametrize("header", ["example.com", "192.168.1.5:1", "localhost", "[fe80::1]"])
def test_a_single_star_answers_every_host(header: str) -> None:
    assert AllowedHosts("127.0.0.1", ["*"]).allow(header)


@given(st.text(max_size=40))
def test_no_text_is_taken_for_localhost_but_what_is(header: str) -> None:
    if ON_LOOPBACK.allow(header):
        host = host_in(header)
        assert host is not None
        is_name = host == "localhost" or host.endswith(".localhost")
        assert is_name or host == "::1" or host.startswith("127.")
