"""What an endpoint takes, learned from its refusals: each names a parameter, and is met by one step down the ladder."""

from __future__ import annotations

import re
from dataclasses import dataclass, replace

from cj_stream.gateway.models.forms import Form

LENGTHS = ("max_tokens", "max_completion_tokens")
"""The two names of the limit of an answer's tokens."""
_SCHEMAS = ("json_schema", "response_schema", "schema", "additionalProperties", "enum", "strict")
_WORDS = {
    Form.JSON_SCHEMA: ("response_format", "output_config", "output_format", "structured output", *_SCHEMAS),
    Form.TOOL: ("tool_choice", "tools", "tool", "function", *_SCHEMAS),
    Form.JSON_OBJECT: ("response_format", "json_object"),
}
_DROPPED = {
    "temperature": ("temperature",),
    "reasoning_effort": ("reasoning_effort", "reasoning", "thinking", "effort"),
    "verbosity": ("verbosity",),
    "system": ("system", "system role", "developer"),
}


@dataclass(frozen=True)
class Rung:
    """What is sent: the form asked for, the name of the length's limit (None: unlimited) and what is left out."""

    forms: tuple[Form, ...]
    length: str | None
    length_is_needed: bool = False
    tried_lengths: frozenset[str] = frozenset()
    left_out: frozenset[str] = frozenset()

    @property
    def form(self) -> Form:
        """Return the form of the answer that is asked for."""
        return self.forms[0]

    def sends(self, name: str) -> bool:
        """Return whether the parameter is sent."""
        return name not in self.left_out

    def below(self, parameter: str | None, message: str) -> Rung | None:
        """Return the next rung after a refusal that names a parameter, None when it names nothing that can change.

        ``parameter`` is the endpoint's own field for the name, which counts before the ``message``.
        """
        for text in filter(None, (parameter, message)):
            found = self._below(text)
            if found is not None:
                return found
        return None

    def _below(self, text: str) -> Rung | None:
        if self.length is not None and not self.length_is_needed and _names(text, (self.length,)):
            return self._other_length(self.length)
        for name, words in _DROPPED.items():
            if self.sends(name) and _names(text, words):
                return replace(self, left_out=self.left_out | {name})
        if len(self.forms) > 1 and _names(text, _WORDS[self.form]):
            return replace(self, forms=self.forms[1:])
        if self.sends("reasoning_effort") and _names(text, ("output_config",)):
            return replace(self, left_out=self.left_out | {"reasoning_effort"})
        return None

    def _other_length(self, refused: str) -> Rung:
        tried = self.tried_lengths | {refused}
        return replace(self, tried_lengths=tried, length=next((name for name in LENGTHS if name not in tried), None))


def _names(text: str, words: tuple[str, ...]) -> bool:
    return any(re.search(rf"(?<![A-Za-z_]){re.escape(word)}(?![A-Za-z_])", text) for word in words)
