"""The one error of everything that reads input from outside: what was wrong, where, and whom to tell."""

from __future__ import annotations

from typing import Any, Self, TypeVar
from uuid import UUID

from pydantic import BaseModel, ValidationError

from cj_stream.engine.dead_letters import Refusal
from cj_stream.engine.texts import clip

DETAIL_LIMIT = 500

_REASONS = {
    "missing": "missing_field",
    "string_too_long": "out_of_range",
    "too_short": "out_of_range",
    "greater_than": "out_of_range",
    "greater_than_equal": "out_of_range",
    "less_than": "out_of_range",
    "less_than_equal": "out_of_range",
    "finite_number": "out_of_range",
    "literal_error": "out_of_range",
    "value_error": "invalid_value",
    "uuid_parsing": "invalid_value",
    "datetime_parsing": "invalid_value",
    "datetime_from_date_parsing": "invalid_value",
}
"""Pydantic's error types in the reasons' words; every other type is a wrong type."""

Model = TypeVar("Model", bound=BaseModel)


class Refused(Refusal):
    """Input that is not taken.

    ``reason`` is a short machine code (``not_json``, ``missing_field``, ``duplicate_essay_ids``, ...).
    ``detail`` is a sentence saying what was wrong, where and what to do, at most 500 characters, never the whole input.
    ``field`` is the path of the offending field. ``batch_id`` and ``correlation_id`` are set when they were readable,
    ``is_request`` when the input was meant as an assessment request.
    """

    def __init__(
        self,
        reason: str,
        detail: str,
        *,
        field: str | None = None,
        batch_id: str | None = None,
        correlation_id: UUID | None = None,
        is_request: bool = False,
    ) -> None:
        super().__init__(reason, clip(detail, DETAIL_LIMIT))
        self.field = field
        self.batch_id = batch_id
        self.correlation_id = correlation_id
        self.is_request = is_request

    @property
    def answerable(self) -> bool:
        """Whether a failed event is due: it was a request, and its batch and correlation id were readable."""
        return self.is_request and self.batch_id is not None and self.correlation_id is not None

    def addressed(self, batch_id: str | None, correlation_id: UUID | None, *, is_request: bool) -> Self:
        """Return the same refusal with the ids that were readable."""
        return type(self)(
            self.reason,
            self.detail,
            field=self.field,
            batch_id=batch_id,
            correlation_id=correlation_id,
            is_request=is_request,
        )


def validated(model: type[Model], raw: object, where: str) -> Model:
    """Return ``raw`` as a ``model``. ``where`` names its place in the message, as in ``data``.

    Raises ``Refused`` naming the first offending field and the number of further ones.
    """
    try:
        return model.model_validate(raw)
    except ValidationError as error:
        raise _refused(error, where) from None


def _refused(error: ValidationError, where: str) -> Refused:
    first, *others = error.errors(include_url=False, include_context=False, include_input=False)
    field = _path(where, first["loc"])
    more = f", and {len(others)} more" if others else ""
    detail = f"{field}: {first['msg']}{more}. Correct the field and send the message again."
    return Refused(_REASONS.get(first["type"], "wrong_type"), detail, field=field)


def _path(where: str, steps: tuple[Any, ...]) -> str:
    path = where
    for step in steps:
        path += f"[{step}]" if isinstance(step, int) else f".{step}"
    return path.removeprefix(".")
