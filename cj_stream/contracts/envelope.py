"""The envelope around every Kafka message: strict JSON, read tolerantly; the event inside is read in a second step."""

from __future__ import annotations

import json
from collections.abc import Mapping
from datetime import datetime
from typing import Any
from uuid import UUID

import msgspec

from cj_stream.contracts.fields import Timestamp, Unneeded, WireModel, WireUUID, wire_time
from cj_stream.contracts.message_limits import CALLBACK_LIMIT
from cj_stream.contracts.refusal import Refused, validated

_decode = msgspec.json.Decoder().decode


class Envelope(WireModel):
    """One message's envelope. Route on the topic it came from, never on ``event_type``.

    ``event_timestamp`` is the publication by the sender's clock, which may be skewed. ``data`` is the event, not yet
    read. Of the rest only what somebody needs has to be readable.
    """

    data: dict[str, Any]
    correlation_id: WireUUID | None = None
    metadata: dict[str, Any] | None = None
    event_id: Unneeded[WireUUID] = None
    event_type: Unneeded[str] = None
    event_timestamp: Unneeded[Timestamp] = None


def read_object(value: bytes | None, limit: int = CALLBACK_LIMIT) -> dict[str, Any]:
    """Return the JSON object in ``value``.

    Raises ``Refused`` (``empty``, ``too_large``, ``not_utf8``, ``not_json``, ``too_deep``, ``not_an_object``). JSON is
    taken strictly: NaN, Infinity, numbers out of range and halves of surrogate pairs are not JSON.
    """
    if not value:
        raise Refused("empty", "The message has no value: send a JSON object.")
    if len(value) > limit:
        raise Refused("too_large", f"The message has {len(value)} bytes, at most {limit} are taken: make it smaller.")
    document = _parsed(value)
    if not isinstance(document, dict):
        raise Refused("not_an_object", f"The message is a JSON {type(document).__name__}: send a JSON object.")
    return document


def _parsed(value: bytes) -> object:
    try:
        return _decode(value.decode())
    except UnicodeDecodeError as error:
        raise Refused("not_utf8", f"The message is not UTF-8 at byte {error.start}: encode it as UTF-8.") from None
    except msgspec.DecodeError as error:
        raise Refused("not_json", f"The message is not valid JSON ({error}): send strict JSON.") from None
    except RecursionError:
        raise Refused("too_deep", "The message is nested too deeply to be read: send a flatter object.") from None


def nests_deeper(value: object, limit: int) -> bool:
    """Return whether objects and arrays nest in ``value`` beyond ``limit`` levels."""
    if not isinstance(value, dict | list):
        return False
    children = value.values() if isinstance(value, dict) else value
    return limit == 0 or any(nests_deeper(child, limit - 1) for child in children)


def read_envelope(value: bytes | None, limit: int = CALLBACK_LIMIT) -> Envelope:
    """Return the envelope in ``value``. Raises ``Refused``."""
    return as_envelope(read_object(value, limit))


def as_envelope(document: Mapping[str, Any]) -> Envelope:
    """Return the parsed ``document`` as an envelope. Raises ``Refused``."""
    return validated(Envelope, document, "")


def write_envelope(
    *,
    event_id: UUID,
    event_type: str,
    timestamp: datetime,
    source_service: str,
    correlation_id: UUID,
    data: Mapping[str, Any],
    metadata: Mapping[str, Any] | None,
) -> bytes:
    """Return a message in the platform's current form, non-ASCII characters escaped.

    Raises ``ValueError`` for a number that JSON does not have (NaN, infinity) and for a time without zone.
    """
    document = {
        "event_id": str(event_id),
        "event_type": event_type,
        "event_timestamp": wire_time(timestamp),
        "source_service": source_service,
        "schema_version": 1,
        "correlation_id": str(correlation_id),
        "data_schema_uri": None,
        "data": data,
        "metadata": metadata,
    }
    return json.dumps(document, allow_nan=False, ensure_ascii=False, separators=(",", ":")).encode()
