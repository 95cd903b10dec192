"""What an app calls its settings and its command, for sentences that tell people what to change.

Two apps on one machine have settings of their own, so nothing in the engine knows the name of a variable.
"""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True)
class Names:
    """``prefix`` is what the environment variables of an app begin with; ``command`` is its command line."""

    prefix: str
    command: str

    def setting(self, field: str) -> str:
        """Return the environment variable of a field of the settings."""
        return f"{self.prefix}{field.upper()}"
