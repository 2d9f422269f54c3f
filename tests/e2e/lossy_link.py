"""A TCP connection to PostgreSQL that breaks off at the moment of a commit."""

import socket
import threading
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass, field
from enum import Enum
from pathlib import Path

_COMMITTED = b"COMMIT\x00"


class Loss(Enum):
    """What is lost of a commit."""

    REQUEST = "the server never hears of it"
    ANSWER = "the server has committed, and nobody is told"


@dataclass
class LossyLink:
    """Hands everything on, but for the next commit that `lose` asks for."""

    server: Path
    listener: socket.socket
    is_away: bool = False
    _statement: bytes = b""
    _times: int = 1
    _loss: Loss | None = None
    _stays_away: bool = False
    _lost: threading.Event = field(default_factory=threading.Event)
    _connections: "list[_Connection]" = field(default_factory=list)

    @property
    def port(self) -> int:
        port: int = self.listener.getsockname()[1]
        return port

    def lose(
        self, loss: Loss, *, of: str, times: int = 1, stays_away: bool = False
    ) -> threading.Event:
        """Break off at the commit of a transaction with so many of this statement.

        The event is set once that was.
        """
        self._statement, self._times, self._stays_away = of.encode(), times, stays_away
        self._lost = threading.Event()
        self._loss = loss
        return self._lost

    def serve(self) -> None:
        while True:
            try:
                client, _ = self.listener.accept()
            except OSError:
                return
            if self.is_away:
                client.close()
                continue
            server = socket.socket(socket.AF_UNIX)
            server.connect(str(self.server))
            connection = _Connection(self, client, server)
            self._connections.append(connection)
            for pump in (connection.to_server, connection.to_client):
                threading.Thread(target=pump, daemon=True).start()

    @property
    def waits_for_a_commit(self) -> bool:
        return self._loss is not None

    def is_to_be_lost(self, seen: bytes) -> Loss | None:
        """What of this connection is to be lost, given what the client has sent."""
        *transactions, _ = seen.split(_COMMITTED)
        if any(sent.count(self._statement) >= self._times for sent in transactions):
            return self._loss
        return None

    def note_lost(self) -> None:
        self._loss = None
        self.is_away = self._stays_away
        for connection in self._connections if self.is_away else ():
            connection.close()
        self._lost.set()


@dataclass
class _Connection:
    link: LossyLink
    client: socket.socket
    server: socket.socket
    seen: bytes = b""
    loses_answer: bool = False

    def to_server(self) -> None:
        with suppress(OSError):
            while data := self.client.recv(65536):
                self.seen = self.seen + data if self.link.waits_for_a_commit else b""
                loss = self.link.is_to_be_lost(self.seen)
                if loss is Loss.REQUEST:
                    self.link.note_lost()
                    break
                self.loses_answer = loss is Loss.ANSWER
                self.server.sendall(data)
        self.close()

    def to_client(self) -> None:
        answered = b""
        with suppress(OSError):
            while data := self.server.recv(65536):
                if self.loses_answer:
                    answered += data
                    if _COMMITTED in answered:
                        self.link.note_lost()
                        break
                else:
                    self.client.sendall(data)
        self.close()

    def close(self) -> None:
        for end in (self.client, self.server):
            with suppress(OSError):
                end.shutdown(socket.SHUT_RDWR)
            end.close()


@contextmanager
def lossy_link(server: Path) -> Iterator[LossyLink]:
    """A link to a server that listens on this socket, at a port of its own."""
    with socket.create_server(("127.0.0.1", 0)) as listener:
        link = LossyLink(server, listener)
        threading.Thread(target=link.serve, daemon=True).start()
        yield link
        listener.shutdown(socket.SHUT_RDWR)
