"""Keeps web pages of other sites away from the gateway, before any route is looked for.

A browser lets any page send a form to any address, the reader's own machine included,
and there is no password that would stop it. But a page cannot change the headers by which
the browser says where a request comes from and which host it is for.

Pure ASGI around the whole app, because every request passes here, polls too.
"""

import functools
from collections.abc import Mapping

from starlette.types import ASGIApp, Receive, Scope, Send

from fanfold.app.http.errors import ForeignOrigin, Problem, UnknownHost
from fanfold.app.http.hosts import AllowedHosts, host_in
from fanfold.app.http.problems import render

# These change nothing, and no other site can read the answers.
_SAFE_METHODS = frozenset({"GET", "HEAD", "OPTIONS"})
_DEFAULT_PORTS = {"http": ":80", "https": ":443"}
# Each page, proxy or health check uses one; a client that makes them up cannot fill memory.
_HOSTS_REMEMBERED = 256


class Protection:
    """Answers requests for unknown hosts, and writes from other sites' pages, itself."""

    def __init__(self, app: ASGIApp, hosts: AllowedHosts) -> None:
        """Stand in front of this app, which answers for these hosts."""
        self._app = app
        self._allows = functools.lru_cache(_HOSTS_REMEMBERED)(
            lambda host: hosts.allow(host.decode("latin-1"))
        )

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Hand the request on, or answer it with 421 or 403 without reading its body."""
        if scope["type"] == "http" and (problem := self._problem_with(scope)) is not None:
            await render(problem)(scope, receive, send)
        else:
            await self._app(scope, receive, send)

    def _problem_with(self, scope: Scope) -> Problem | None:
        hosts = [value for name, value in scope["headers"] if name == b"host"]
        if len(hosts) != 1 or not self._allows(hosts[0]):
            return _unknown_host(hosts)
        if scope["method"] in _SAFE_METHODS:
            return None
        return _foreign_origin(scope["scheme"], dict(scope["headers"]))


def _unknown_host(hosts: list[bytes]) -> UnknownHost:
    host = host_in(hosts[0].decode("latin-1")) if len(hosts) == 1 else None
    if host is None:
        return UnknownHost("unknown_host", "A request needs one Host header, with a name.")
    return UnknownHost(
        "unknown_host",
        f"The gateway does not answer for the host {host}. If it should, name it in "
        "FANFOLD_ALLOWED_HOSTS; from the machine itself, use localhost.",
    )


def _foreign_origin(scheme: str, headers: Mapping[bytes, bytes]) -> ForeignOrigin | None:
    site = headers.get(b"sec-fetch-site")
    origin = headers.get(b"origin")
    if site != b"cross-site" and (
        origin is None or _is_own(origin, scheme, headers[b"host"], site)
    ):
        return None
    return ForeignOrigin(
        "foreign_origin",
        "A web page of another origin may not change anything here. A proxy in front has to hand "
        "on the Host header with its port, and X-Forwarded-Proto.",
    )


def _is_own(origin: bytes, scheme: str, host: bytes, site: bytes | None) -> bool:
    """Whether the page came from where the request goes: the same scheme, host and port."""
    page_scheme, separator, page_host = origin.decode("latin-1").lower().partition("://")
    if not separator:  # `null`, of a sandboxed page or a local file
        return False
    if page_scheme != scheme and site != b"same-origin":
        # Behind a proxy that does TLS the scheme seen here may not be the page's. Then the
        # browser's own word counts, which it gives wherever TLS is.
        return False
    port = _DEFAULT_PORTS.get(page_scheme, "")
    own_host = host.decode("latin-1").lower()
    return page_host.removesuffix(port) == own_host.removesuffix(port)
