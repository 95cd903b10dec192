"""Every setting of the gateway: one class, read from environment variables with the prefix ``CJ_GATEWAY_``."""

from __future__ import annotations

import os
from pathlib import Path
from typing import Annotated, ClassVar, Literal

from pydantic import Field, field_validator
from pydantic_settings import NoDecode, SettingsConfigDict

from cj_stream.engine.engine_settings import EngineSettings
from cj_stream.engine.naming import Names
from cj_stream.engine.values import Count, Folder, Positive, Servers, Token, TopicName

GATEWAY = Names("CJ_GATEWAY_", "cj-stream gateway")
SEPARATOR = ";"
"""Between judges: commas separate the options of one."""


class GatewaySettings(EngineSettings):
    """Settings of a gateway, validated at start."""

    model_config = SettingsConfigDict(env_prefix=GATEWAY.prefix)
    names: ClassVar[Names] = GATEWAY

    # --- Kafka: of the engine's, what is said otherwise ---------------------------------------------------------------
    kafka_bootstrap: Servers = Field(
        default_factory=lambda: os.environ.get("CJ_KAFKA_BOOTSTRAP") or "localhost:9092",
        description="Bootstrap servers of the Kafka cluster; unset: CJ_KAFKA_BOOTSTRAP, or localhost:9092.",
    )
    app_id: Annotated[TopicName, Field(max_length=200)] = Field(
        "cj-gateway", description="Consumer group and prefix of the changelog topic."
    )
    data_dir: Folder = Field(Path("var/gateway"), description="Folder of the local database; one per gateway.")
    web_port: Annotated[int, Field(ge=1, le=65535)] = Field(8090, description="Port of the API.")
    partitions: Count = Field(
        8,
        description="Partitions of the jobs topic and the changelog; fixed for life. Each gateway has the share of a "
        "budget that its partitions are of all.",
    )

    # --- Topics --------------------------------------------------------------------------------------------------
    jobs_topic: TopicName = Field("cj.gateway.jobs.v1", description="What happens to each comparison, in one order.")
    dead_letters_topic: TopicName = Field(
        "cj.gateway.dead_letters.v1", description="That an event could not be read or decided, without its content."
    )
    callback_topics: Annotated[tuple[TopicName, ...], NoDecode] = Field(
        default_factory=lambda: (
            os.environ.get("CJ_LLM_PROVIDER_CALLBACK_TOPIC") or "huleedu.llm_provider.comparison_result.v1",
        ),
        description="Topics that answers may be published to, with commas; unset: CJ_LLM_PROVIDER_CALLBACK_TOPIC, or "
        "the platform's.",
    )

    # --- Judges --------------------------------------------------------------------------------------------------
    judges: Annotated[tuple[str, ...], NoDecode] = Field(
        (),
        description="NAME=SPEC of each judge, separated by semicolons; unset or none: one simulated judge.",
    )
    seed: int = Field(0, description="Seed of simulated judges that name none.")
    latency_seconds: Annotated[float, Field(ge=0, le=3600)] = Field(
        0.0, description="Median seconds that simulated and recorded judges take for a verdict, if they name none."
    )

    # --- Jobs ----------------------------------------------------------------------------------------------------
    time_to_live_minutes: Annotated[float, Field(ge=0.1, le=7 * 24 * 60)] = Field(
        50,
        description="Minutes within which an accepted comparison is answered, with an error if need be. Shorter than "
        "CJ_COMPARISON_DEADLINE_MINUTES, or a worker asks again before. So long a repeated request meets its first "
        "copy, and the cancellation of a batch holds.",
    )
    queue_jobs: Count = Field(20_000, description="Unanswered comparisons of all gateways; beyond, 429.")
    queue_megabytes: Count = Field(1_000, description="Megabytes of their texts; beyond, 429.")
    calls_at_once: Annotated[Count, Field(le=10_000)] = Field(
        64,
        description="Calls under way at once, per provider, model and gateway. So many may be paid for twice after the "
        "gateway was killed.",
    )
    call_seconds: Annotated[Positive, Field(le=3600)] = Field(
        300, description="A call that takes longer counts as failed, and as paid for."
    )
    call_attempts: Annotated[Count, Field(le=10)] = Field(
        3, description="A comparison gets an error after so many calls that may have been paid for."
    )
    breaker_failures: Count = Field(
        5, description="Calls in a row that a provider and model did not answer, after which it is left alone."
    )
    breaker_seconds: Positive = Field(60, description="Seconds until one call probes whether it answers again.")

    # --- This gateway --------------------------------------------------------------------------------------------
    operator_token: Token | None = Field(
        None, description="Bearer token of what operators do: set limits. Unset switches that off."
    )
    log_format: Literal["console", "json"] = Field("console", description="Logs for people or for machines.")
    log_level: Literal["DEBUG", "INFO", "WARNING", "ERROR"] = Field("INFO", description="Least level that is logged.")

    @property
    def log_topic(self) -> str:
        """The topic of the events."""
        return self.jobs_topic

    @property
    def dead_letter_topic(self) -> str:
        """The topic of what could not be read or decided."""
        return self.dead_letters_topic

    @property
    def table(self) -> str:
        """The name of the one table."""
        return "jobs"

    @field_validator("callback_topics", mode="before")
    @classmethod
    def _topics(cls, value: object) -> object:
        return [name.strip() for name in value.split(",") if name.strip()] if isinstance(value, str) else value

    @field_validator("judges", mode="before")
    @classmethod
    def _judges(cls, value: object) -> object:
        if not isinstance(value, str):
            return value
        specs = [spec.strip() for spec in value.split(SEPARATOR) if spec.strip()]
        return [] if specs == ["none"] else specs
