"""Options of a judge as text: ``key=value,key=value``."""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from typing import NamedTuple

_TRUTH = {"yes": True, "true": True, "no": False, "false": False}


class Option(NamedTuple):
    """What may stand behind a kind: ``example`` is for the help, ``default`` for who leaves it out."""

    name: str
    example: str
    default: str | None = None


class Options:
    """``key=value,key=value``, of those that the kind takes; each is read once.

    All raise ValueError that names the option.
    """

    def __init__(self, text: str, taken: Sequence[Option], seed: int) -> None:
        given: dict[str, str | None] = {}
        for part in filter(None, text.split(",")):
            key, equals, value = part.partition("=")
            if not equals or key in given:
                raise ValueError(f"option {part!r} must be KEY=VALUE, each key once")
            given[key] = value
        self._values = {option.name: option.default for option in taken}
        if unknown := sorted(given.keys() - self._values.keys()):
            raise ValueError(f"unknown option {', '.join(unknown)}; it takes {', '.join(self._values)}")
        self._values |= {"seed": str(seed)} | given
        self.seed = int(self._read("seed", int))

    def text(self, key: str) -> str | None:
        """Take a text out, None where it is absent."""
        return self._values.pop(key)

    def number(self, key: str, at_least: float = 0.0) -> float:
        """Take a finite number out."""
        number = self._read(key, float)
        if not math.isfinite(number) or number < at_least:
            raise ValueError(f"option {key}: {number} is out of range")
        return number

    def number_or_none(self, key: str, at_least: float = 0.0) -> float | None:
        """Take a finite number out, None where it is absent."""
        if self._values[key] is None:
            del self._values[key]
            return None
        return self.number(key, at_least)

    def flag(self, key: str) -> bool:
        """Take out a yes or no."""
        return bool(self._read(key, _TRUTH.__getitem__))

    def check_all_read(self) -> None:
        """Raise TypeError when the kind takes what it never reads."""
        if self._values:
            raise TypeError(f"the kind takes {', '.join(self._values)} and never reads it")

    def _read(self, key: str, read: Callable[[str], float]) -> float:
        value = self._values.pop(key)
        try:
            return read(value or "")
        except (ValueError, KeyError) as error:
            raise ValueError(f"option {key}: {value!r} is not a usable value") from error
