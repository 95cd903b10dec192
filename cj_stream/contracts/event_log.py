"""The events of batches as they are in the log: msgpack, each with the name of its kind."""

from __future__ import annotations

from cj_stream.domain.events import AnyEvent, Event
from cj_stream.engine.messages import EventCodec, PartitionOpened


def _name(event: Event) -> str:
    return f"{type(event).__name__} of batch {event.batch_id}"


EVENTS: EventCodec[Event] = EventCodec(AnyEvent, _name)
"""The kinds of event of the service."""


def encode_event(event: Event | PartitionOpened) -> bytes:
    """Return one event as bytes."""
    return EVENTS.encode(event)


def decode_event(data: bytes) -> Event | PartitionOpened:
    """Return the event; raises `msgspec.MsgspecError` when the bytes are not one."""
    return EVENTS.decode(data)
