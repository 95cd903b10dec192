"""The internal message: many events of one partition in one Kafka message, each decodable alone.

Faust's cost is per message, so events are grouped. The message is a msgpack array of a version and the encoded events.
An event is a msgspec struct with the name of its kind as its tag; the kinds are the app's, and one is the engine's.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any, Generic, TypeVar, cast

import msgspec

VERSION = 1

EventT = TypeVar("EventT")

_encoder = msgspec.msgpack.Encoder()
_message_decoder = msgspec.msgpack.Decoder(tuple[int, list[bytes]])


class NewerVersionError(Exception):
    """The message was written by a newer version of the app: this worker must not handle it."""


class PartitionOpened(msgspec.Struct, frozen=True, tag=True, kw_only=True):
    """A worker has taken the partition over and has now read everything that was sent before."""

    nonce: str
    about: str = msgspec.field(default="", name="batch_id")
    """About nothing; it is there because readers of the first version ask for it, under that name."""


class EventCodec(Generic[EventT]):
    """Encodes and decodes the events of an app; ``kinds`` is the union of their struct types, each with its tag.

    ``name`` says of an event what it is, for sentences that tell people of it.
    """

    def __init__(self, kinds: Any, name: Callable[[EventT], str] = lambda event: type(event).__name__) -> None:
        self.name = name
        self._decoder = msgspec.msgpack.Decoder(cast("type[Any]", kinds | PartitionOpened))

    def encode(self, event: EventT | PartitionOpened) -> bytes:
        """Return one event as bytes."""
        return _encoder.encode(event)

    def decode(self, data: bytes) -> EventT | PartitionOpened:
        """Return the event; raises `msgspec.MsgspecError` when the bytes are not one."""
        event: EventT | PartitionOpened = self._decoder.decode(data)
        return event


def encode_message(events: Sequence[bytes]) -> bytes:
    """Return a message of already encoded events."""
    return _encoder.encode((VERSION, events))


def decode_message(value: bytes) -> list[bytes]:
    """Return the encoded events of a message.

    Raises `NewerVersionError` for a message of a newer version, `msgspec.MsgspecError` for what is not a message.
    """
    version, events = _message_decoder.decode(value)
    if version > VERSION:
        raise NewerVersionError(
            f"an internal message has version {version}, this worker reads up to {VERSION}: upgrade it"
        )
    return events
