"""What the values of settings may be: numbers that are finite and of use, names, addresses. Each says what is wrong."""

from __future__ import annotations

import ipaddress
import re
from pathlib import Path
from typing import Annotated
from urllib.parse import urlsplit

from pydantic import AfterValidator, BeforeValidator, Field, SecretStr

_LARGEST_INTEGER = 2**31 - 1
_LONGEST_TOPIC = 249
_NAME = re.compile(r"[A-Za-z0-9._-]+")
_LABEL = re.compile(r"[A-Za-z0-9_-]{1,63}")
_LONGEST_HOST = 253
_PORTS = range(1, 65536)


def _is_host(value: str) -> bool:
    """Return whether ``value`` is an IPv4 address, an IPv6 address in brackets or not, or a name that DNS can have."""
    bare = value[1:-1] if value.startswith("[") and value.endswith("]") else value
    if ":" in bare or not bare.strip("0123456789."):
        try:
            ipaddress.ip_address(bare.partition("%")[0])
        except ValueError:
            return False
        return True
    labels = bare.removesuffix(".").split(".")
    return bare == value and len(bare) <= _LONGEST_HOST and all(map(_LABEL.fullmatch, labels))


def _text(value: str) -> str:
    if not value.strip():
        raise ValueError("must not be blank: unset it for its default")
    if not value.isprintable():
        raise ValueError(f"must be of printable characters, not {value[:80]!r}")
    return value


def _topic(value: str) -> str:
    if not _NAME.fullmatch(value) or value in {".", ".."} or len(value) > _LONGEST_TOPIC:
        raise ValueError(
            f"must be a name that Kafka takes, 1 to {_LONGEST_TOPIC} of A-Z a-z 0-9 . _ -, not {value[:80]!r}"
        )
    return value


def checked_url(value: str) -> str:
    """Return ``value`` if it is an http(s) address; raises ValueError, with a sentence, if it is none."""
    if "@" in value.partition("//")[2].partition("/")[0]:  # not repeated: it may hold a password
        raise ValueError("must hold no name or password: addresses are logged and shown")
    try:
        parts = urlsplit(value)
        port, host = parts.port, parts.hostname
    except ValueError as error:
        raise ValueError(f"must be http(s)://host[:port][/path], not {value[:200]!r}: {error}") from error
    bare = not parts.query and not parts.fragment and " " not in value and value.isprintable()
    if parts.scheme not in {"http", "https"} or not _is_host(host or "") or port == 0 or not bare:
        raise ValueError(f"must be http(s)://host[:port][/path], not {value[:200]!r}")
    return value


def _servers(value: str) -> str:
    for server in value.split(","):
        host, port = _split_server(server.strip())
        if not _is_host(host) or not (port.isascii() and port.isdigit() and int(port) in _PORTS):
            raise ValueError(
                f"must be host:port, or several of them separated by commas, with ports from 1 to 65535; "
                f"{server.strip()[:80]!r} is not"
            )
    return value


def _split_server(server: str) -> tuple[str, str]:
    if server.startswith("[") or server.count(":") == 1:
        host, _, port = server.rpartition(":")
        return host, port
    return server, "9092" if ":" not in server else ""


def _host(value: str) -> str:
    if not _is_host(value):
        raise ValueError(f"must be a host name or an address, without port or scheme, not {value[:80]!r}")
    return value


def _token(value: SecretStr) -> SecretStr:
    secret = value.get_secret_value()
    if secret != secret.strip() or not secret.isascii() or not secret.isprintable():
        raise ValueError(
            "must be of printable ASCII characters, without blanks around it: it travels in an HTTP header"
        )
    return value


def _folder(value: object) -> object:
    if isinstance(value, str):
        _text(value)
    return value


Positive = Annotated[float, Field(gt=0)]
Seconds = Annotated[float, Field(ge=1, le=24 * 3600)]
"""Of limits and intervals that are no use below a second."""
Count = Annotated[int, Field(gt=0, le=_LARGEST_INTEGER)]
Share = Annotated[float, Field(ge=0, le=1)]
Text = Annotated[str, AfterValidator(_text)]
TopicName = Annotated[str, AfterValidator(_topic)]
HttpUrl = Annotated[str, AfterValidator(checked_url)]
Servers = Annotated[str, AfterValidator(_servers)]
"""host:port, or several of them separated by commas."""
Host = Annotated[str, AfterValidator(_host)]
Folder = Annotated[Path, BeforeValidator(_folder)]
Token = Annotated[SecretStr, AfterValidator(_token)]
