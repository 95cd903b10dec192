"""The internal message: many events of one partition in one Kafka message, each decodable alone.

Faust's cost is per message, so events are grouped. The message is a msgpack array of a version and the encoded events.
"""

from __future__ import annotations

from collections.abc import Sequence

import msgspec

from cj_stream.domain.events import AnyEvent, Event

VERSION = 1

_event_encoder = msgspec.msgpack.Encoder()
_event_decoder = msgspec.msgpack.Decoder(AnyEvent)
_message_decoder = msgspec.msgpack.Decoder(tuple[int, list[bytes]])


class NewerVersionError(Exception):
    """The message was written by a newer version of the service: this worker must not handle it."""


def encode_event(event: Event) -> bytes:
    """Return one event as bytes."""
    return _event_encoder.encode(event)


def decode_event(data: bytes) -> Event:
    """Return the event; raises `msgspec.MsgspecError` when the bytes are not one."""
    event: Event = _event_decoder.decode(data)
    return event


def encode_message(events: Sequence[bytes]) -> bytes:
    """Return a message of already encoded events."""
    return _event_encoder.encode((VERSION, events))


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
