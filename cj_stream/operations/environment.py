"""The settings as the environment gives them: read, or refused in sentences, and told of variables nobody reads."""

from __future__ import annotations

import os
from collections.abc import Mapping, Sequence
from difflib import get_close_matches
from typing import Any

from pydantic import ValidationError

from cj_stream.engine.starting import settings_problems
from cj_stream.operations.settings import NAMES, Settings

PREFIX = "CJ_"
WEB_URL = "CJ_WEB_URL"
"""Read by the commands alone: where the workers are."""


class BadSettingsError(Exception):
    """The environment holds values that no worker can have; ``problems`` has a sentence for each."""

    def __init__(self, problems: Sequence[str]) -> None:
        super().__init__("; ".join(problems))
        self.problems = problems


def read_settings(given: Mapping[str, Any] | None = None) -> Settings:
    """Return the settings that are ``given``, and for all others those of the environment.

    Raises `BadSettingsError`.
    """
    try:
        return Settings(**(given or {}))
    except ValidationError as error:
        raise BadSettingsError(settings_problems(error, NAMES)) from error


def unknown_variables() -> list[str]:
    """Return a sentence for each variable of the environment that looks like a setting and is none."""
    known = {f"{PREFIX}{name.upper()}" for name in Settings.model_fields} | {WEB_URL}
    given = {name for name in os.environ if name.upper().startswith(PREFIX)}
    return [_unknown(name, known) for name in sorted(given) if name.upper() not in known and not _of_gateway(name)]


def _of_gateway(name: str) -> bool:
    return name.upper().startswith("CJ_GATEWAY_")


def _unknown(name: str, known: set[str]) -> str:
    nearest = get_close_matches(name.upper(), known, 1)
    guess = f"did you mean {nearest[0]}?" if nearest else "cj-stream settings lists them."
    return f"{name} is no setting and changes nothing: {guess}"
