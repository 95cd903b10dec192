"""A partition that stands: it has a record batch that cannot be read, so nothing behind it in that partition is.

All workers learn of it from the offset that its owner commits: beside it stands since when, and why. So the time does
not begin anew with another owner, and nobody has to be asked.

Test: ``test_standing.py``.
"""

from __future__ import annotations

import re
from dataclasses import dataclass
from typing import Any

import msgspec

from cj_stream.engine.texts import clip

_ID = re.compile(r"[0-9a-f]{8}(-[0-9a-f]{4}){3}-[0-9a-f]{12}")
WHY_LIMIT = 500
"""Characters of the reason that are kept beside an offset; brokers take 4,096 bytes unless configured."""


class Mark(msgspec.Struct, frozen=True):
    """What is committed with the offset that a partition stands at; the time is in seconds since the epoch."""

    standing_since: float
    why: str

    def beside(self, topic_id: str) -> str:
        """Return what to commit with the offset: the topic's id, as with every offset, and the mark."""
        mark = msgspec.json.encode(Mark(self.standing_since, clip(self.why, WHY_LIMIT)))
        return f"{topic_id}\n{mark.decode()}"


def read_topic_id(metadata: str) -> str:
    """Return the id of the topic that an offset was committed for, empty when it is not known."""
    first = metadata.partition("\n")[0]
    # Tools that set offsets write there what they like.
    return first if _ID.fullmatch(first) else ""


def read_mark(metadata: str) -> Mark | None:
    """Return the mark that was committed with an offset, None when there is none."""
    try:
        return msgspec.json.decode(metadata.partition("\n")[2], type=Mark)
    except msgspec.MsgspecError:
        return None


@dataclass(frozen=True)
class Standing:
    """One partition that stands. ``since`` is in seconds since the epoch."""

    topic: str
    partition: int
    offset: int
    """The first offset that cannot be read."""
    behind: int | None
    """The offset behind the batch, None when that cannot be told."""
    why: str
    is_changelog: bool
    since: float
    assignment: Any
    """aiokafka's assignment that it was found in."""
    command: str
    """The command that goes on behind it."""

    @property
    def subject(self) -> str:
        """Return the partition's name."""
        return f"{self.topic}-{self.partition}"

    @property
    def mark(self) -> Mark:
        """Return what to commit with the offset."""
        return Mark(self.since, self.why)

    @property
    def what(self) -> str:
        """Return a sentence: where it stands, why, and what to do."""
        flag = " (all workers stopped)" if self.is_changelog else ""
        return (
            f"partition {self.partition} of {self.topic} stands at offset {self.offset}: {self.why}. To go on without "
            f"this batch of records: {self.command} {self.topic} {self.partition} {self.offset}{flag}"
        )

    @property
    def meaning(self) -> str:
        """Return a sentence: what waits because of it."""
        if self.is_changelog:
            return (
                f"the table of partition {self.partition} cannot be rebuilt beyond it: who takes that partition over "
                "does not serve it; all other partitions are served"
            )
        return "nothing behind it in this partition is read; all other partitions are served"
