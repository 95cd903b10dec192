"""Write the references of all settings, of workers and of gateways, from the classes that read them: ``make docs``.

A class gives names, defaults, limits and meanings. What belongs together is said here, in `GROUPS` and
`GATEWAY_GROUPS`.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from enum import Enum
from pathlib import Path
from types import NoneType, UnionType
from typing import Any, Literal, NamedTuple, Union, get_args, get_origin

from annotated_types import Ge, Gt, Le
from pydantic import SecretStr
from pydantic.fields import FieldInfo

from cj_stream.engine.engine_settings import EngineSettings
from cj_stream.engine.values import Folder, Host, HttpUrl, Servers, Token, TopicName
from cj_stream.gateway.gateway_settings import GatewaySettings
from cj_stream.operations.environment import WEB_URL
from cj_stream.operations.setting_values import CheckKey, ContentUrl
from cj_stream.operations.settings import Settings

DOCS = Path(__file__).parents[1] / "docs"

INTRODUCTION = f"""\
# Settings

This page lists every setting of a worker, with its default and what it takes.
It is for whoever runs cj_stream; `cj-stream settings` prints the same with the values that hold here and now.
To read it you need no other page; words such as *iteration* and *marker* are in the [glossary](glossary.md).

The page is written by `make docs` from the settings themselves; a test fails when they differ.

A setting is an environment variable.
All of them are read once, when a worker starts.
A value that no worker can use is refused at start with exit code 78 and a sentence that names the variable.
A variable that begins with `CJ_` and is no setting is told with the nearest name.

Settings that do not fit together are refused as well:

- `CJ_HEARTBEAT_SECONDS` is at most a quarter of `CJ_SESSION_TIMEOUT_SECONDS`.
- `CJ_COMPARISON_DEADLINE_MINUTES` times `CJ_MAX_ATTEMPTS` is shorter than `CJ_BATCH_TIMEOUT_HOURS`.
- `CJ_BATCH_TIMEOUT_HOURS` is not longer than `CJ_BATCH_MAX_AGE_HOURS`.
- The pairs that are planned at a time fit into one record: with very many essays, set `CJ_WAVE_SIZE`.
- `CJ_INVALID_INPUT_MINIMUM` is not larger than `CJ_INVALID_INPUT_WINDOW`.
- No two topics have the same name, except those of the outcomes.

Most of the settings under *Judgement* go into a batch when it starts.
So a new value holds for the batches that start later.
Those that say "the same for all workers" must be equal in the whole group.
`{WEB_URL}` is no setting of a worker: the commands read it to find one, for example `http://127.0.0.1:6066`.
"""

GROUPS: dict[str, tuple[str, ...]] = {
    "Kafka": (
        "kafka_bootstrap",
        "app_id",
        "partitions",
        "replication_factor",
        "standby_replicas",
        "session_timeout_seconds",
        "heartbeat_seconds",
        "commit_interval_seconds",
        "accumulate_milliseconds",
        "shared_input",
    ),
    "Topics": (
        "assessment_request_topic",
        "llm_provider_callback_topic",
        "assessment_completed_topic",
        "assessment_failed_topic",
        "assessment_result_topic",
        "batch_events_topic",
        "batch_timeouts_topic",
        "dead_letters_topic",
    ),
    "Judgement": (
        "batch_timeout_hours",
        "batch_max_age_hours",
        "comparison_deadline_minutes",
        "slowest_judge_hours",
        "max_attempts",
        "retry_pool_size",
        "min_success_rate_threshold",
        "timeout_completion_pct",
        "completion_threshold_pct",
        "score_stability_threshold",
        "reliability_target",
        "max_iterations",
        "comparisons_per_essay",
        "random_iterations",
        "pairing_policy",
        "wave_size",
        "judgements_per_pair",
        "stop_rules",
        "grade_certainty_target",
        "max_comparisons",
        "max_essays",
        "max_concurrent_comparisons",
    ),
    "LLM provider and content": (
        "llm_provider_service_url",
        "content_service_url",
        "default_llm_provider",
        "default_llm_model",
        "llm_temperature",
        "submission_workers",
        "submission_timeout_seconds",
        "breaker_failures",
        "breaker_seconds",
        "content_cache_megabytes",
    ),
    "Time and housekeeping": ("batch_monitor_interval_minutes", "retention_days", "clock_tolerance_seconds"),
    "Bad input": ("invalid_input_share", "invalid_input_window", "invalid_input_minimum"),
    "When a worker ends itself": (
        "loop_stall_seconds",
        "partition_stall_seconds",
        "standing_minutes",
        "opening_stall_seconds",
        "cluster_lost_seconds",
        "stop_seconds",
    ),
    "This worker": (
        "worker_id",
        "data_dir",
        "web_host",
        "web_port",
        "advertised_host",
        "operator_token",
        "reader_token",
        "correlation_key",
        "log_format",
        "log_level",
    ),
}

GATEWAY_INTRODUCTION = """\
# Settings of a gateway

This page lists every setting of a gateway, with its default and what it takes.
It is for whoever runs `cj-stream gateway`.
Read [the gateway](mechanisms/gateway.md) before: it says what the settings mean together.

The page is written by `make docs` from the settings themselves; a test fails when they differ.

A setting is an environment variable, read once, when a gateway starts; options of the command win over it.
All gateways that share work and budget have the same settings, but for those under *This gateway*.

**What may be paid for twice.**
When a gateway is killed, the calls that it had under way are made again.
There are at most `CJ_GATEWAY_CALLS_AT_ONCE` of them for each provider and model.
How many there were is in the log of the gateway that takes over.
"""

GATEWAY_GROUPS: dict[str, tuple[str, ...]] = {
    "Judges": ("judges", "seed", "latency_seconds"),
    "Comparisons": (
        "time_to_live_minutes",
        "queue_jobs",
        "queue_megabytes",
        "calls_at_once",
        "call_seconds",
        "call_attempts",
        "breaker_failures",
        "breaker_seconds",
    ),
    "Kafka": GROUPS["Kafka"],
    "Topics": ("jobs_topic", "dead_letters_topic", "callback_topics"),
    "When a gateway ends itself": GROUPS["When a worker ends itself"],
    "This gateway": (
        "worker_id",
        "data_dir",
        "web_host",
        "web_port",
        "advertised_host",
        "clock_tolerance_seconds",
        "operator_token",
        "log_format",
        "log_level",
    ),
}


class Book(NamedTuple):
    """A page: where it is, and what it says of which settings."""

    path: Path
    settings: type[EngineSettings]
    introduction: str
    groups: Mapping[str, tuple[str, ...]]


WORKERS = Book(DOCS / "settings.md", Settings, INTRODUCTION, GROUPS)
GATEWAYS = Book(DOCS / "gateway-settings.md", GatewaySettings, GATEWAY_INTRODUCTION, GATEWAY_GROUPS)

KINDS: tuple[tuple[Any, str], ...] = (
    (Servers, "`host:port`, or several separated by commas"),
    (TopicName, "a name that Kafka takes"),
    (ContentUrl, "`http(s)://host[:port][/path]` or `file:/folder`"),
    (HttpUrl, "`http(s)://host[:port][/path]`"),
    (Host, "a host name or an address"),
    (Folder, "a folder"),
    (CheckKey, "a secret of 1 to 64 bytes"),
    (Token, "a secret of printable ASCII"),
)
LARGEST = 2**31 - 1
"""A limit from here on is that of the number's type and says nothing."""


def page(book: Book = WORKERS) -> str:
    """Return the page. Raises `ValueError` for a setting that is in no group, or in two, and for one that is gone."""
    grouped = [name for names in book.groups.values() for name in names]
    astray = set(grouped) ^ set(book.settings.model_fields)
    if astray or len(grouped) != len(set(grouped)):
        raise ValueError(f"every setting must be in one group; look at {sorted(astray)}")
    return "\n".join([book.introduction, *(_group(book, title, names) for title, names in book.groups.items())])


def _group(book: Book, title: str, names: tuple[str, ...]) -> str:
    return "\n".join([f"## {title}", "", *(line for name in names for line in _setting(book.settings, name)), ""])


def _setting(settings: type[EngineSettings], name: str) -> Iterator[str]:
    field = settings.model_fields[name]
    default = "unset by default" if field.default_factory is not None else _default(field.default)
    yield f"- `{settings.names.setting(name)}`: {_kind(field)}; {default}."
    for sentence in (field.description or "").replace(". ", ".\n").splitlines():
        yield f"  {sentence}"


def _default(value: object) -> str:
    if isinstance(value, SecretStr):
        return "a default that everybody knows"
    if isinstance(value, bool):
        value = "yes" if value else "no"
    if isinstance(value, tuple):
        value = ",".join(value)
    if isinstance(value, float):
        value = f"{value:g}"
    return "unset by default" if value is None else f"default `{value}`"


def _kind(field: FieldInfo) -> str:
    inner = _inner(field.annotation)
    limits = [*getattr(inner, "__metadata__", ()), *field.metadata]
    known = next((text for alias, text in KINDS if any(mark in limits for mark in alias.__metadata__)), None)
    return known or _plain(_bare(inner), [*_flat(limits)])


def _inner(annotation: Any) -> Any:
    """Return what is given when anything is: the type without None."""
    if get_origin(annotation) in {Union, UnionType}:
        (annotation,) = (part for part in get_args(annotation) if part is not NoneType)
    return annotation


def _bare(kind: Any) -> Any:
    return kind.__origin__ if hasattr(kind, "__metadata__") else kind


def _plain(kind: Any, limits: list[Any]) -> str:
    if get_origin(kind) is Literal:
        return "one of " + ", ".join(f"`{word}`" for word in get_args(kind))
    if get_origin(kind) is tuple:
        return _several(get_args(kind)[0])
    if issubclass(kind, Enum):
        return "one of " + ", ".join(f"`{word}`" for word in kind)
    if kind is str:
        pattern = next((mark.pattern for mark in limits if getattr(mark, "pattern", None)), None)
        return f"a text that matches `{pattern}`" if pattern else "a text"
    if kind is bool:
        return "`yes` or `no`"
    return ("a whole number" if kind is int else "a number") + _range(kind, limits)


def _several(kind: Any) -> str:
    if _bare(kind) is str:
        return "a list of texts"
    return "any of " + ", ".join(f"`{word}`" for word in kind) + ", with commas, or `none`"


def _range(kind: type, limits: list[Any]) -> str:
    lowest: list[Any] = [mark.ge for mark in limits if isinstance(mark, Ge)]
    above: list[Any] = [mark.gt for mark in limits if isinstance(mark, Gt)]
    highest: list[Any] = [mark.le for mark in limits if isinstance(mark, Le)]
    most = [limit for limit in highest if limit < LARGEST]
    if kind is int:
        lowest += [limit + 1 for limit in above]
        above = []
    parts = [f"from {max(lowest):,}"] if lowest else [f"above {max(above):,}"] if above else []
    return " ".join(["", *parts, *([f"up to {min(most):,}"] if most else [])])


def _flat(metadata: list[Any]) -> Iterator[Any]:
    for mark in metadata:
        yield from _flat(mark.metadata) if isinstance(mark, FieldInfo) else [mark]


if __name__ == "__main__":
    for written in (WORKERS, GATEWAYS):
        written.path.write_text(page(written), encoding="utf-8")
        print(f"wrote {written.path}")
