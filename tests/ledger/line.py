"""A line to PostgreSQL that a test can cut in the worst moment."""

import asyncio
import ctypes
import socket
import struct
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

from psycopg.conninfo import conninfo_to_dict

SO_ATTACH_FILTER = 26
SO_DETACH_FILTER = 27
# One instruction of the packet filter's: return 0, which is to drop the packet.
DROP_ALL = struct.pack("HBBI", 0x06, 0, 0, 0)


class Line:
    """TCP on loopback before the Unix socket of a server."""

    def __init__(self, url: str) -> None:
        parameters = conninfo_to_dict(url)
        self._server_path = f"{parameters['host']}/.s.PGSQL.{parameters.get('port', 5432)}"
        self._database = parameters["dbname"]
        self._listener: socket.socket | None = None
        self._clients: set[asyncio.StreamWriter] = set()
        self._pumps: set[asyncio.Task[None]] = set()
        self.breaks_at: bytes | None = None
        """The next answer of the server's with this in it is lost, and its connection with it."""

    @asynccontextmanager
    async def open(self, parameters: str = "") -> AsyncIterator[str]:
        """The URL of the database by way of this line."""
        self._listener = socket.create_server(("127.0.0.1", 0))
        port = self._listener.getsockname()[1]
        server = await asyncio.start_server(self._serve, sock=self._listener)
        try:
            yield f"postgresql://postgres@127.0.0.1:{port}/{self._database}{parameters}"
        finally:
            server.close()
            for pump in self._pumps:
                pump.cancel()
            await asyncio.gather(*self._pumps, return_exceptions=True)

    def cut(self) -> None:
        """From now on nothing arrives here: no packet is acknowledged, and none refused."""
        code = ctypes.create_string_buffer(DROP_ALL)
        program = struct.pack("HL", 1, ctypes.addressof(code))
        for end in self._ends():
            end.setsockopt(socket.SOL_SOCKET, SO_ATTACH_FILTER, program)

    def repair(self) -> None:
        """Take new connections again; those that were cut stay so."""
        assert self._listener is not None
        self._listener.setsockopt(socket.SOL_SOCKET, SO_DETACH_FILTER, 0)

    def _ends(self) -> list[socket.socket]:
        assert self._listener is not None
        return [self._listener, *(client.get_extra_info("socket") for client in self._clients)]

    async def _serve(self, client: asyncio.StreamReader, to_client: asyncio.StreamWriter) -> None:
        server, to_server = await asyncio.open_unix_connection(self._server_path)
        self._clients.add(to_client)
        pumps = [
            asyncio.create_task(self._pump(client, to_server, is_answer=False)),
            asyncio.create_task(self._pump(server, to_client, is_answer=True)),
        ]
        self._pumps.update(pumps)
        await asyncio.wait(pumps, return_when=asyncio.FIRST_COMPLETED)
        self._clients.discard(to_client)
        to_client.close()
        to_server.close()

    async def _pump(
        self, source: asyncio.StreamReader, target: asyncio.StreamWriter, *, is_answer: bool
    ) -> None:
        while piece := await source.read(65536):
            if is_answer and self.breaks_at is not None and self.breaks_at in piece:
                self.breaks_at = None
                return
            target.write(piece)
