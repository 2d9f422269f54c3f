"""The HTTP server. When it stops, clients that wait get an answer first."""

import asyncio
import socket
from collections.abc import Awaitable

import uvicorn
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from fanfold.app.http.errors import Unavailable
from fanfold.app.http.problems import render

# A client that polls every five seconds must find its connection still open.
_KEEP_ALIVE_SECONDS = 75
_SHUTDOWN_SECONDS = 5
# On uvicorn's own answers too: browsers must not guess another type.
_HEADERS = [("X-Content-Type-Options", "nosniff")]


class Server(uvicorn.Server):
    """Serves an app until SIGTERM or SIGINT."""

    def __init__(self, app: ASGIApp, *, host: str, port: int, stopping: asyncio.Event) -> None:
        """Serve this app there; `stopping` is set before requests are waited for."""
        config = uvicorn.Config(
            _Answered(app, stopping),
            host=host,
            port=port,
            headers=_HEADERS,
            access_log=False,
            log_config=None,
            timeout_keep_alive=_KEEP_ALIVE_SECONDS,
            timeout_graceful_shutdown=_SHUTDOWN_SECONDS,
        )
        super().__init__(config)
        self._stopping = stopping

    async def shutdown(self, sockets: list[socket.socket] | None = None) -> None:
        """End the requests, those that wait for a job at once; then stop the app."""
        self._stopping.set()
        await super().shutdown(sockets)


class _Answered:
    """Answers requests that are cancelled because they took too long to end."""

    def __init__(self, app: ASGIApp, stopping: asyncio.Event) -> None:
        self._app = app
        self._stopping = stopping

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        has_begun = False

        def noted(message: Message) -> Awaitable[None]:
            nonlocal has_begun
            has_begun = True
            return send(message)

        try:
            await self._app(scope, receive, noted)
        except asyncio.CancelledError:
            if scope["type"] != "http" or not self._stopping.is_set():
                raise
            # An answer that has begun ends without its closing chunk: so the client knows
            # that it is not whole.
            if not has_begun:
                await render(_stopping())(scope, receive, send)


def _stopping() -> Unavailable:
    return Unavailable(
        "gateway_stopping",
        "The gateway is stopping, and the request did not end in time. Try again in a moment.",
        headers={"Connection": "close"},
    )
