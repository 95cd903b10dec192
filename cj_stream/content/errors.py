"""Why a text could not be had.

ContentError
├── TextMissing          final: asking again gives the same answer
└── ContentUnavailable   temporary: the text may well be there
"""

from __future__ import annotations

from cj_stream.operations.troubles import with_remedy


class ContentError(Exception):
    """A text could not be read or stored."""


class TextMissing(ContentError):  # noqa: N818 -- the domain's word for it; an outcome that callers plan for
    """There is no usable text under this id: unknown, malformed id, blank or too large."""

    def __init__(self, storage_id: str, why: str) -> None:
        super().__init__(f"no text under storage id {storage_id[:80]!r}: {why}")
        self.storage_id = storage_id
        self.why = why


class ContentUnavailable(ContentError):  # noqa: N818 -- a state of the service rather than a mistake
    """The content service did not answer usefully this time: worth asking again later.

    ``remedy`` is what somebody has to change first, None if it may pass by itself.
    """

    def __init__(self, why: str, remedy: str | None = None) -> None:
        super().__init__(f"content service unavailable: {with_remedy(why, remedy)}")
        self.why = why
        self.remedy = remedy
