"""The address under which other workers reach this one: they ask it for what it serves.

Hazard: a worker in a container binds to 0.0.0.0, which is no address that anybody else can ask. Faust 0.15.3 tells the
group whatever ``web_host`` says, so whoever asks another worker for it would get no answer.

Test: ``test_address.py``.
"""

from __future__ import annotations

import ipaddress
import socket

import structlog

from cj_stream.engine.engine_settings import EngineSettings

log = structlog.get_logger(__name__)

_ANY_PORT = 9  # nothing is sent there


def advertised_host(settings: EngineSettings) -> str:
    """Return the host that other workers are told.

    By default that is where the views are bound. Where they are bound to every address, it is the name of this machine
    or container, or its address on the way to Kafka if that name leads nowhere else than here.
    """
    host = settings.advertised_host or settings.web_host
    if settings.advertised_host is None and _is_every_address(host):
        host = _own_name() or _own_address_towards(settings.kafka_bootstrap)
    return f"[{host}]" if ":" in host else host


def find_address_problems(settings: EngineSettings) -> list[str]:
    """Return a sentence for each reason why nobody could reach this worker under what it is told to advertise."""
    host = settings.advertised_host
    if host is None:
        _warn_of_loopback(settings)
        return []
    setting = settings.names.setting("advertised_host")
    remedy = "give the name or address alone, under which other workers reach this one, or leave it out"
    if _is_every_address(host):
        return [f"{setting}={host} is no address that another worker can reach: {remedy}"]
    if not _resolved(host):
        return [f"{setting}={host} cannot be resolved here: {remedy}"]
    return []


def _warn_of_loopback(settings: EngineSettings) -> None:
    brokers = [_host(server) for server in settings.kafka_bootstrap.split(",")]
    web, advertised = map(settings.names.setting, ("web_host", "advertised_host"))
    if _is_loopback(settings.web_host) and not all(map(_is_loopback, brokers)):
        what = f"workers on other machines cannot ask this one for what it serves: set {web} and {advertised}"
        log.warning(what, web_host=settings.web_host)


def _is_every_address(host: str) -> bool:
    try:
        return ipaddress.ip_address(host.strip("[]")).is_unspecified
    except ValueError:
        return False


def _own_name() -> str | None:
    name = socket.gethostname()
    return name if any(not _is_loopback(address) for address in _resolved(name)) else None


def _own_address_towards(bootstrap: str) -> str:
    for address in _resolved(_host(bootstrap.split(",", maxsplit=1)[0])):
        family = socket.AF_INET6 if ":" in address else socket.AF_INET
        with socket.socket(family, socket.SOCK_DGRAM) as probe:
            try:
                probe.connect((address, _ANY_PORT))
            except OSError:
                continue
            return str(probe.getsockname()[0])
    return "127.0.0.1"


def _host(server: str) -> str:
    return server.strip().rpartition(":")[0].strip("[]")


def _resolved(host: str) -> list[str]:
    try:
        return [str(entry[4][0]) for entry in socket.getaddrinfo(host.strip("[]"), None, type=socket.SOCK_STREAM)]
    except (OSError, UnicodeError):
        return []


def _is_loopback(host: str) -> bool:
    return any(map(_is_loopback_address, _resolved(host)))


def stays_here(host: str) -> bool:
    """Return whether only this machine can reach what listens on ``host``."""
    addresses = _resolved(host)
    return bool(addresses) and all(map(_is_loopback_address, addresses))


def _is_loopback_address(address: str) -> bool:
    return ipaddress.ip_address(address.partition("%")[0]).is_loopback
