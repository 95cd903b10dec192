"""Whether the web views could listen where the settings say, asked before anything is started.

Hazard in Faust 0.15.3: an address that cannot be had crashes the web server's thread in the middle of the start, and
the worker with it.

Tests: ``test_web_address.py``; ``tests/kafka/test_endings.py``.
"""

from __future__ import annotations

import errno
import socket

from cj_stream.engine.naming import Names


def address_problems(host: str, port: int, names: Names) -> list[str]:
    """Return a sentence for each reason why no server can listen on ``host`` and ``port``."""
    try:
        found = socket.getaddrinfo(host, port, type=socket.SOCK_STREAM, flags=socket.AI_PASSIVE)
        for family, kind, protocol, _, address in found:
            with socket.socket(family, kind, protocol) as probe:
                _bind(probe, family, address)
    except (OSError, UnicodeError) as error:
        return [_sentence(host, port, error, names)]
    return []


def _bind(probe: socket.socket, family: int, address: object) -> None:
    # As asyncio does: what a closed connection has left behind is no obstacle, and IPv6 does not take IPv4 as well.
    probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
    if family == socket.AF_INET6:
        probe.setsockopt(socket.IPPROTO_IPV6, socket.IPV6_V6ONLY, 1)
    probe.bind(address)  # type: ignore[arg-type]  # as getaddrinfo gave it
    probe.listen(1)


def _sentence(host: str, port: int, error: OSError | UnicodeError, names: Names) -> str:
    web_host, web_port = names.setting("web_host"), names.setting("web_port")
    number = error.errno if isinstance(error, OSError) and not isinstance(error, socket.gaierror) else None
    if number == errno.EADDRINUSE:
        return f"something else listens on port {port} of {host}: end it, or set {web_port} to a free one"
    if number in {errno.EACCES, errno.EPERM}:
        return f"this user may not listen on port {port}: set {web_port} to one above 1023"
    return f"{web_host}={host} is no address of this machine to listen on ({error}): 0.0.0.0 is all of them"
