"""Which hosts the gateway answers for, by the `Host` header of a request.

A page of a foreign site can point its own name to this machine's address (DNS rebinding),
and then talk to the gateway as if to its own server. It cannot change the name, which the
browser sends as `Host`. An address in place of a name cannot be rebound.
"""

import re
from collections.abc import Iterable
from ipaddress import IPv4Address, IPv6Address, ip_address

_HOST = re.compile(
    r"(?:\[(?P<ipv6>[0-9a-f.]*:[0-9a-f:.]*)\]|(?P<name>[0-9a-z._-]{1,254}))(?::[0-9]{0,5})?"
)
_LOCALHOST = "localhost"
_ANY = "*"


class AllowedHosts:
    """Localhost, the configured names, and IP addresses if the gateway listens beyond loopback."""

    def __init__(self, listens_on: str, named: Iterable[str]) -> None:
        """Where the gateway listens, and the names it is known by.

        `*.example.com` stands for all names below example.com, `*` for every host.
        """
        names = {name.lower().removesuffix(".") for name in named}
        self._takes_addresses = not is_loopback(listens_on)
        self._is_any = _ANY in names
        self._names = {_canonical(name) for name in (*names, listens_on.lower())}
        self._suffixes = (f".{_LOCALHOST}", *(name[1:] for name in names if name.startswith("*.")))

    def allow(self, header: str) -> bool:
        """Whether a request with this `Host` is answered; a malformed one never is."""
        host = host_in(header)
        if host is None:
            return False
        if self._is_any or host == _LOCALHOST or host in self._names:
            return True
        address = _address(host)
        if address is not None:
            return address.is_loopback or self._takes_addresses
        return host.endswith(self._suffixes)


def host_in(header: str) -> str | None:
    """The name or address in a `Host` header, in its usual form; None where it is malformed."""
    found = _HOST.fullmatch(header.lower())
    if found is None:
        return None
    if found["ipv6"] is not None:
        return _canonical(found["ipv6"]) if _address(found["ipv6"]) is not None else None
    name = found["name"].removesuffix(".")
    return name if name and ".." not in name and not name.startswith(".") else None


def is_loopback(host: str) -> bool:
    """Whether what listens there can only be reached from this machine."""
    address = _address(host)
    return host.lower() == _LOCALHOST if address is None else address.is_loopback


def _canonical(host: str) -> str:
    address = _address(host)
    return host if address is None else str(address)


def _address(host: str) -> IPv4Address | IPv6Address | None:
    try:
        return ip_address(host.strip("[]"))
    except ValueError:
        return None
