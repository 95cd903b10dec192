"""The kinds of condition that only this service has: those whom it asks are away."""

from __future__ import annotations

from enum import StrEnum


class Away(StrEnum):
    """Who is away. Each has a series of the metric of conditions, also when nobody is."""

    PROVIDER = "provider_away"
    """Nobody takes connections where the LLM provider should be."""
    CONTENT = "content_away"
    """Nobody takes connections where the content service should be."""
