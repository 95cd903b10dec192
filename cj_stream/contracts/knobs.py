"""The knobs that a request may carry in its envelope's metadata."""

from __future__ import annotations

import re
from collections.abc import Mapping
from typing import Annotated, Any, Literal, get_args

from msgspec import Struct
from pydantic import BeforeValidator, Field

from cj_stream.contracts.fields import LARGEST_INTEGER, Identifier, Integer, Number, WireModel
from cj_stream.contracts.refusal import validated
from cj_stream.scoring.pairing.pairing import PairingPolicy
from cj_stream.scoring.quality.stopping import StopRule

BatchingMode = Literal["per_request", "serial_bundle", "provider_batch_api"]
_MODES: tuple[BatchingMode, ...] = get_args(BatchingMode)
PRIORITIES = 10
"""The highest priority of a batch at the provider; the lowest is as far below the normal 0."""
MOST_DOLLARS = 1e6
_TRACEPARENT = re.compile(r"[0-9a-f]{2}-[0-9a-f]{32}-[0-9a-f]{16}-[0-9a-f]{2}")


class Knobs(Struct, frozen=True, kw_only=True):
    """What the requester wants of this one batch; ``None`` leaves it to the service's settings.

    ``completion_threshold`` is a share, 0.5-1.0. ``traceparent`` is a W3C trace context. A grade boundary is a point on
    the centred scale, logits, or the id of the essay that marks it. ``max_cost`` is in US dollars; of ``priority`` the
    highest goes first. ``reuse_judgements`` is the id of the batch whose verdicts are taken over.
    """

    max_comparisons: int | None = None
    completion_threshold: float | None = None
    batch_size: int | None = None
    max_concurrent_batches: int | None = None
    batching_mode: BatchingMode | None = None
    traceparent: str | None = None
    pairing_policy: PairingPolicy | None = None
    stop_rules: tuple[StopRule, ...] | None = None
    reliability_target: float | None = None
    grade_boundaries: tuple[float | str, ...] = ()
    max_cost: float | None = None
    priority: int = 0
    reuse_judgements: str | None = None


def _lower(value: object) -> object:
    return value.strip().lower() if isinstance(value, str) else value


class _BatchConfig(WireModel):
    batch_size: Annotated[Integer, Field(ge=10, le=200)] | None = None
    max_concurrent_batches: Annotated[Integer, Field(ge=1, le=5)] | None = None
    partial_completion_threshold: Annotated[Number, Field(ge=0.5, le=1)] | None = None
    llm_batching_mode_override: Annotated[BatchingMode, BeforeValidator(_lower)] | None = None
    # Ours: other readers of the topic ignore fields that they do not know.
    pairing_policy: Annotated[PairingPolicy, BeforeValidator(_lower)] | None = None
    stop_rules: (
        Annotated[list[Annotated[StopRule, BeforeValidator(_lower)]], Field(max_length=len(StopRule))] | None
    ) = None
    reliability_target: Annotated[Number, Field(ge=0, le=1)] | None = None
    grade_boundaries: Annotated[list[Number | Identifier], Field(max_length=100)] | None = None
    max_cost: Annotated[Number, Field(gt=0, le=MOST_DOLLARS)] | None = None
    priority: Annotated[Integer, Field(ge=-PRIORITIES, le=PRIORITIES)] | None = None
    reuse_judgements: Identifier | None = None


class _Metadata(WireModel):
    """The part of the metadata in which a wrong value fails the request; the rest is read leniently."""

    batch_config_overrides: _BatchConfig | None = None


def read_knobs(metadata: Mapping[str, Any]) -> Knobs:
    """Return the knobs in an envelope's ``metadata``.

    A wrong ``max_comparisons``, hint or trace context is ignored. Raises ``Refused`` for a wrong value inside
    ``batch_config_overrides``. The batching hint wins over the override.
    """
    config = validated(_Metadata, metadata, "metadata").batch_config_overrides or _BatchConfig()
    return Knobs(
        max_comparisons=_positive(metadata.get("max_comparisons")),
        completion_threshold=config.partial_completion_threshold,
        batch_size=config.batch_size,
        max_concurrent_batches=config.max_concurrent_batches,
        batching_mode=_hint(metadata.get("llm_batching_mode_hint")) or config.llm_batching_mode_override,
        traceparent=_trace(metadata.get("traceparent")),
        pairing_policy=config.pairing_policy,
        stop_rules=None if config.stop_rules is None else tuple(config.stop_rules),
        reliability_target=config.reliability_target,
        grade_boundaries=tuple(config.grade_boundaries or ()),
        max_cost=config.max_cost,
        priority=config.priority or 0,
        reuse_judgements=config.reuse_judgements,
    )


def _positive(value: object) -> int | None:
    if isinstance(value, int) and not isinstance(value, bool) and value > 0:
        return min(value, LARGEST_INTEGER)
    return None


def _hint(value: object) -> BatchingMode | None:
    return next((mode for mode in _MODES if mode == _lower(value)), None)


def _trace(value: object) -> str | None:
    return value if isinstance(value, str) and _TRACEPARENT.fullmatch(value) else None
