"""What every app on the engine is set by, from environment variables with a prefix of the app's own.

An app makes a subclass with its `names`, a prefix and a name of its own, and adds what it needs. The consumer group is
the ``app_id``, and topics are named after it unless the app says otherwise: so two apps do not meet on one broker.
"""

from __future__ import annotations

from pathlib import Path
from typing import Annotated, ClassVar, Self

from pydantic import Field, model_validator
from pydantic_settings import BaseSettings, SettingsConfigDict

from cj_stream.engine.clients import Kafka
from cj_stream.engine.naming import Names
from cj_stream.engine.topics import changelog_name
from cj_stream.engine.values import Count, Folder, Host, Positive, Seconds, Servers, TopicName


class EngineSettings(BaseSettings):
    """Settings of a worker, validated when they are read."""

    model_config = SettingsConfigDict(extra="ignore", frozen=True, allow_inf_nan=False)
    names: ClassVar[Names]
    """What the app calls its settings; its prefix is the ``env_prefix`` of the subclass."""

    # --- Kafka ---------------------------------------------------------------------------------------------------
    kafka_bootstrap: Servers = Field("localhost:9092", description="Bootstrap servers of the Kafka cluster.")
    app_id: Annotated[TopicName, Field(max_length=200)] = Field(
        description="Consumer group and prefix of the changelog topic."
    )
    partitions: Count = Field(8, description="Partitions of the events topic and the changelog; fixed for life.")
    replication_factor: Annotated[Count, Field(le=32_767)] = Field(
        1, description="Replicas of our own topics; 3 in production."
    )
    standby_replicas: Annotated[int, Field(ge=0, le=1_000)] = Field(
        1,
        description="Workers that keep a copy of each partition's table besides its own, and so take over at once. "
        "Each copy is read from the changelog all the time. The same for all workers.",
    )
    session_timeout_seconds: Seconds = Field(
        10,
        description="A worker silent for this long loses its partitions. Effects under way are waited for half as long "
        "when partitions change hands, and this long when their worker stops; what takes longer may be carried out "
        "twice.",
    )
    heartbeat_seconds: Annotated[Positive, Field(ge=0.05)] = Field(0.5, description="Interval of the group heartbeats.")
    commit_interval_seconds: Annotated[Positive, Field(ge=0.01, le=60)] = Field(
        0.2, description="Offsets are committed, and effects released, this often."
    )
    accumulate_milliseconds: Annotated[Positive, Field(le=10_000)] = Field(
        20, description="Ingress gathers events of one partition for this long."
    )
    shared_input: bool = Field(
        False,
        description="yes: start although another group has committed offsets of the inputs or the events topic. Two "
        "apps on one input carry out every effect twice.",
    )

    # --- When a worker ends itself, to be started again -----------------------------------------------------------
    loop_stall_seconds: Seconds = Field(60, description="An event loop that does not turn for this long ends a worker.")
    partition_stall_seconds: Seconds = Field(
        120, description="A partition with unread messages that does not move for this long ends its worker."
    )
    standing_minutes: Positive = Field(
        10, description="Minutes after which nobody waits for what lies behind a record batch that cannot be read."
    )
    opening_stall_seconds: Seconds = Field(
        300, description="Taking over partitions without a single step for this long ends a worker."
    )
    cluster_lost_seconds: Seconds = Field(
        60,
        description="A worker whose own connections to Kafka get no answer, while the bootstrap address answers, ends "
        "after this long, to connect anew. Kafka away is no reason.",
    )
    stop_seconds: Seconds = Field(60, description="Limit on a stop in order; then a worker ends as it is.")
    clock_tolerance_seconds: Positive = Field(
        30,
        description="A worker whose clock differs from the broker's by more than this is degraded. "
        "The service goes by the broker's clock in any case.",
    )

    # --- This worker ---------------------------------------------------------------------------------------------
    worker_id: Annotated[str, Field(pattern=r"^[A-Za-z0-9._-]{1,100}$")] | None = Field(
        None, description="Name in the group, kept over restarts, one per worker; unset: kept in the data folder."
    )
    data_dir: Folder = Field(Path("var/worker"), description="Folder of the local database; one per worker.")
    web_host: Host = Field("127.0.0.1", description="Address that the web views bind to.")
    web_port: Annotated[int, Field(ge=1, le=65535)] = Field(6066, description="Port of the web views.")
    advertised_host: Host | None = Field(
        None,
        description="Name or address under which other workers reach this one; unset: the one that the views bind to, "
        "or the name of this machine or container where that is every address.",
    )

    @property
    def kafka(self) -> Kafka:
        """The cluster that the app works on."""
        return Kafka(self.kafka_bootstrap, self.names)

    @property
    def log_topic(self) -> str:
        """The topic of the app's events."""
        return f"{self.app_id}.events"

    @property
    def dead_letter_topic(self) -> str:
        """The topic of refused input."""
        return f"{self.app_id}.dead-letters"

    @property
    def table(self) -> str:
        """The name of the app's table."""
        return "state"

    @property
    def changelog_topic(self) -> str:
        """The topic that the table can be rebuilt from."""
        return changelog_name(self.app_id, self.table)

    @model_validator(mode="after")
    def _session_outlives_a_late_heartbeat(self) -> Self:
        if self.heartbeat_seconds > self.session_timeout_seconds / 4:
            heartbeat, session = map(self.names.setting, ("heartbeat_seconds", "session_timeout_seconds"))
            raise ValueError(
                f"{heartbeat} ({self.heartbeat_seconds:g}) must be at most a quarter of "
                f"{session} ({self.session_timeout_seconds:g}): a worker without an answer for half a "
                "session ends itself, and one late answer is no reason to"
            )
        return self
