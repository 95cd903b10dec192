"""What the values of the service's own settings may be. Each says what is wrong."""

from __future__ import annotations

from typing import Annotated

from pydantic import AfterValidator, Field, SecretStr

from cj_stream.engine.values import checked_url

LONGEST_YEARS = 10
_HOURS = LONGEST_YEARS * 366 * 24
_LONGEST_KEY = 64


def _content(value: str) -> str:
    scheme, _, rest = value.partition(":")
    if scheme == "file" and rest.strip("/ ") and value.isprintable():
        return value
    try:
        return checked_url(value)
    except ValueError as error:
        raise ValueError(f"{error}, or file:/folder/of/texts") from error


def _key(value: SecretStr) -> SecretStr:
    secret = value.get_secret_value()
    if not secret.strip() or len(secret.encode("utf-8", "surrogateescape")) > _LONGEST_KEY:
        raise ValueError(f"must be 1 to {_LONGEST_KEY} bytes and not blank")
    return value


Hours = Annotated[float, Field(gt=0, le=_HOURS)]
ContentUrl = Annotated[str, AfterValidator(_content)]
"""http(s)://host[:port][/path], or file:/folder."""
CheckKey = Annotated[SecretStr, AfterValidator(_key)]
