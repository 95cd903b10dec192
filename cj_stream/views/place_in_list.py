"""Where a batch stands in the list of all: what a page of the list ends with, and the next one begins after."""

from __future__ import annotations

from base64 import urlsafe_b64decode, urlsafe_b64encode
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, Self

import msgspec

from cj_stream.domain.batch import Batch
from cj_stream.engine.times import iso_time
from cj_stream.engine.web_answers import bad_request

_Order = tuple[bool, str, str, int]


@dataclass(frozen=True)
class PlaceInList:
    """The place of a batch: live ones come first, of those the newest. ``order`` is higher the earlier it comes."""

    order: _Order

    @classmethod
    def of(cls, batch: Batch) -> Self:
        """Return the place of a batch."""
        return cls((not batch.finished, iso_time(batch.control.created_at), batch.batch_id, batch.run))

    @classmethod
    def of_line(cls, line: Mapping[str, Any]) -> Self:
        """Return the place of a batch by its summary."""
        return cls((line["finished_at"] is None, line["created_at"], line["batch_id"], line["run"]))

    @property
    def text(self) -> str:
        """Return the place as text for a URL, to be read by `read`."""
        return urlsafe_b64encode(msgspec.json.encode(self.order)).decode().rstrip("=")

    @classmethod
    def read(cls, text: str | None) -> Self | None:
        """Return the place that ``text`` names, None for no text; raises `ApiError` 400 for any other text."""
        if text is None:
            return None
        try:
            return cls(msgspec.json.decode(urlsafe_b64decode(text + "=" * (-len(text) % 4)), type=_Order))
        except (ValueError, msgspec.MsgspecError) as error:
            raise bad_request("bad_parameter", "after must be what an earlier page gave as `next`") from error
