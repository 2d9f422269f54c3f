"""What a `postgresql://` URL of the ledger says, and what every connection has beyond it."""

from dataclasses import dataclass
from typing import Any

import psycopg
from psycopg.conninfo import conninfo_to_dict, make_conninfo

from fanfold.ledger.database import LedgerUnavailable

# Each attempt to connect; a server that is there answers in milliseconds.
CONNECT_TIMEOUT_SECONDS = 3
# A server that vanishes without a word, its host switched off or the network cut, is found
# out within half a minute, whether an answer is waited for or a statement is on its way.
_DEFAULTS = {
    "connect_timeout": CONNECT_TIMEOUT_SECONDS,
    "keepalives_idle": 10,
    "keepalives_interval": 5,
    "keepalives_count": 3,
    "tcp_user_timeout": 25_000,
}
_POOLER = "pooler="


@dataclass(frozen=True, slots=True)
class PostgresqlUrl:
    """A ledger's URL, made ready for the driver."""

    conninfo: str
    """The URL's parameters and our defaults for those that it leaves open."""

    pooled: bool
    """Between us and the server is a pooler that lends a connection for one transaction."""

    @property
    def options(self) -> dict[str, Any]:
        """The driver's own options, for every connection."""
        # Text has to come back as text, whatever encoding the database was created with.
        options: dict[str, Any] = {"client_encoding": "UTF8"}
        if self.pooled:
            # The next transaction may run on another connection, which has not prepared them.
            options["prepare_threshold"] = None
        return options


def parsed(url: str) -> PostgresqlUrl:
    """Take the URL apart; `?pooler=transaction` is ours, all else is libpq's.

    Raises LedgerUnavailable where libpq could not make anything of it.
    """
    address, _, query = url.partition("?")
    parameters = query.split("&") if query else []
    ours = [parameter for parameter in parameters if parameter.startswith(_POOLER)]
    if any(parameter != f"{_POOLER}transaction" for parameter in ours):
        raise LedgerUnavailable(f"PostgreSQL: {ours[0]} in the URL; it can be pooler=transaction")
    others = "&".join(parameter for parameter in parameters if parameter not in ours)
    conninfo = f"{address}?{others}" if others else address
    try:
        given = conninfo_to_dict(conninfo)
        defaults = {name: value for name, value in _DEFAULTS.items() if name not in given}
        return PostgresqlUrl(make_conninfo(conninfo, **defaults), pooled=bool(ours))
    except psycopg.ProgrammingError as error:
        raise LedgerUnavailable(f"PostgreSQL: {' '.join(str(error).split())}") from error
