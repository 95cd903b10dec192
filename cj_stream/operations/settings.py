"""Every setting of the service: one class, read from environment variables with the prefix ``CJ_``."""

from __future__ import annotations

from typing import Annotated, ClassVar, Literal, Self

from pydantic import Field, SecretStr, field_validator, model_validator
from pydantic_settings import NoDecode, SettingsConfigDict

from cj_stream.contracts.message_limits import MOST_ESSAYS, MOST_PLANNED_PAIRS
from cj_stream.domain.due_outcomes import OutcomeKind
from cj_stream.domain.identifiers import MAX_ATTEMPTS, MAX_COMPARISONS, MAX_PARTITIONS
from cj_stream.domain.policy import Policy
from cj_stream.engine.engine_settings import EngineSettings
from cj_stream.engine.naming import Names
from cj_stream.engine.values import (
    Count,
    Host,
    HttpUrl,
    Positive,
    Share,
    Text,
    Token,
    TopicName,
)
from cj_stream.operations.setting_values import (
    LONGEST_YEARS,
    CheckKey,
    ContentUrl,
    Hours,
)
from cj_stream.scoring.pairing.pairing import PairingPolicy
from cj_stream.scoring.quality.stopping import StopRule

NAMES = Names("CJ_", "cj-stream")
_OUTCOME_TOPICS = {
    OutcomeKind.COMPLETED: "assessment_completed_topic",
    OutcomeKind.FAILED: "assessment_failed_topic",
    OutcomeKind.REFUSED: "assessment_failed_topic",
    OutcomeKind.RESULT: "assessment_result_topic",
}
_POLICY = Policy()
"""Has the defaults of what is frozen in a batch when it starts; here they have other units."""


class Settings(EngineSettings):
    """Settings of a worker, validated at start. ``CJ_BATCH_TIMEOUT_HOURS=6`` sets ``batch_timeout_hours``."""

    model_config = SettingsConfigDict(env_prefix=NAMES.prefix)
    names: ClassVar[Names] = NAMES

    # --- Kafka: of the engine's, what is said otherwise ---------------------------------------------------------------
    app_id: Annotated[TopicName, Field(max_length=200)] = Field(
        "cj-stream", description="Consumer group and prefix of the changelog topic."
    )
    partitions: Annotated[Count, Field(le=MAX_PARTITIONS)] = Field(
        8, description="Partitions of the events topic and the changelog; fixed for life."
    )
    shared_input: bool = Field(
        False,
        description="yes: start although another group has committed offsets of the request or the events topic. Two "
        "services on one input submit every comparison twice.",
    )
    standing_minutes: Positive = Field(
        10,
        description="Minutes after which timeouts no longer wait for the callbacks behind a record batch that cannot "
        "be read.",
    )
    advertised_host: Host | None = Field(
        None,
        description="Name or address under which other workers reach this one; unset: CJ_WEB_HOST, or the name of this "
        "machine or container where that is every address.",
    )

    # --- Topics --------------------------------------------------------------------------------------------------
    assessment_request_topic: TopicName = Field(
        "huleedu.els.cj_assessment.requested.v1", description="Requests from upstream."
    )
    llm_provider_callback_topic: TopicName = Field(
        "huleedu.llm_provider.comparison_result.v1", description="Verdicts from the LLM provider."
    )
    assessment_completed_topic: TopicName = Field(
        "huleedu.cj_assessment.completed.v1", description="Where thin completed events go."
    )
    assessment_failed_topic: TopicName = Field("huleedu.cj_assessment.failed.v1", description="Where failed events go.")
    assessment_result_topic: TopicName = Field(
        "huleedu.assessment.result.published.v1", description="Where rich results go."
    )
    batch_events_topic: TopicName = Field("cj.batch.events.v1", description="Every input of a batch, in one order.")
    batch_timeouts_topic: TopicName = Field(
        "cj.batch.timeouts.v1", description="Copies of the timeout recovery events, for whoever watches."
    )
    dead_letters_topic: TopicName = Field("cj.dead_letters.v1", description="Refused input with its reason.")

    # --- Judgement (frozen in a batch when it starts) ------------------------------------------------------------
    batch_timeout_hours: Hours = Field(
        _POLICY.batch_timeout / 3600, description="Hours without activity before a batch counts as stuck."
    )
    batch_max_age_hours: Hours = Field(_POLICY.max_age / 3600, description="Limit on the life of a batch, hours.")
    comparison_deadline_minutes: Positive = Field(
        _POLICY.comparison_deadline / 60, description="Minutes an accepted comparison may stay unanswered."
    )
    slowest_judge_hours: Hours | None = Field(
        None,
        description="Longest time in which a judge may say that it will answer, hours; unset: half of "
        "CJ_BATCH_MAX_AGE_HOURS. A batch may become twice as old, whatever CJ_BATCH_MAX_AGE_HOURS says.",
    )
    max_attempts: Annotated[Count, Field(le=MAX_ATTEMPTS)] = Field(
        _POLICY.max_attempts, description="Attempts per comparison before it counts as failed."
    )
    retry_pool_size: Count = Field(
        _POLICY.retry_pool_size, description="Failed comparisons that start a retry while others are outstanding."
    )
    min_success_rate_threshold: Share = Field(
        _POLICY.min_success_rate, description="Smallest share of settled comparisons with a verdict."
    )
    timeout_completion_pct: Annotated[float, Field(ge=0, le=100)] = Field(
        _POLICY.timeout_completion_pct,
        description="Progress from which a timed-out batch is scored instead of failed, percent.",
    )
    completion_threshold_pct: Annotated[int, Field(ge=50, le=100)] = Field(
        _POLICY.completion_threshold_pct, description="Share of an iteration with verdicts at which it closes, percent."
    )
    score_stability_threshold: Positive = Field(
        _POLICY.stability_threshold,
        description="Largest score change over a round of verdicts that counts as stable, logits.",
    )
    reliability_target: Share = Field(
        _POLICY.reliability_target, description="EAP reliability that ends a batch, now and a round of verdicts ago."
    )
    max_iterations: Count = Field(_POLICY.max_iterations, description="Largest number of iterations of a batch.")
    comparisons_per_essay: Count = Field(
        _POLICY.comparisons_per_essay, description="Comparisons that each essay takes part in per iteration."
    )
    random_iterations: Count = Field(
        _POLICY.random_iterations,
        description="Iterations of random matchings before adaptive pairs; at least 3 comparisons per essay.",
    )
    pairing_policy: PairingPolicy = Field(
        _POLICY.judging.pairing,
        description="adaptive: informative pairs after the random ones; random: random throughout.",
    )
    wave_size: Count | None = Field(
        _POLICY.judging.wave_size, description="Pairs planned at a time; unset: a whole iteration."
    )
    judgements_per_pair: Annotated[Count, Field(le=10)] = Field(
        _POLICY.judging.judgements_per_pair,
        description="How often a pair may be compared; again only when all pairs were, in the other order.",
    )
    stop_rules: Annotated[tuple[StopRule, ...], NoDecode] = Field(
        _POLICY.judging.stop_rules,
        description="What may end a batch early: any of reliability, stability, decisions; or none.",
    )
    grade_certainty_target: Share = Field(
        _POLICY.judging.certainty_target,
        description="Expected share of right grades that ends a batch whose request gives grade boundaries.",
    )
    max_comparisons: Annotated[Count, Field(le=MAX_COMPARISONS)] = Field(
        _POLICY.max_comparisons, description="Largest number of comparisons in a batch."
    )
    max_essays: Annotated[Count, Field(le=MOST_ESSAYS)] = Field(
        2_000,
        description="Largest number of essays in a batch. With ids as long as the platform's, more than the largest "
        "number that can be set fit into no record.",
    )
    max_concurrent_comparisons: Count = Field(
        _POLICY.max_concurrent_comparisons, description="Comparisons in flight per batch."
    )

    # --- LLM provider and content --------------------------------------------------------------------------------
    llm_provider_service_url: HttpUrl = Field("http://localhost:8090/api/v1", description="Base of the provider's API.")
    content_service_url: ContentUrl = Field(
        "http://localhost:8001", description="http(s) base, or file:/folder/of/texts."
    )
    default_llm_provider: Text = Field("openai", description="Provider asked when a request names none.")
    default_llm_model: Text | None = Field(None, description="Model asked when a request names none.")
    llm_temperature: Annotated[float, Field(ge=0, le=2)] = Field(0.1, description="Sampling temperature of the judge.")
    submission_workers: Annotated[Count, Field(le=10_000)] = Field(
        32, description="HTTP submissions under way at once in one worker."
    )
    submission_timeout_seconds: Annotated[Positive, Field(le=3_600)] = Field(
        30,
        description="Limit on one submission, seconds. One that takes longer than half of CJ_SESSION_TIMEOUT_SECONDS "
        "may be made twice when workers come and go.",
    )
    breaker_failures: Count = Field(
        5, description="Failures in a row after which nothing more is sent to a provider and model for a while."
    )
    breaker_seconds: Annotated[Positive, Field(le=24 * 3600)] = Field(
        60, description="Seconds until one submission probes whether a provider and model answers again."
    )
    content_cache_megabytes: Annotated[Count, Field(le=1_000_000)] = Field(
        64, description="Limit on the texts kept in memory, megabytes."
    )

    # --- Time and housekeeping -----------------------------------------------------------------------------------
    batch_monitor_interval_minutes: Annotated[Positive, Field(ge=0.001, le=24 * 60)] = Field(
        5, description="Width of a window of the timer agent, minutes."
    )
    retention_days: Annotated[Positive, Field(le=LONGEST_YEARS * 366)] = Field(
        _POLICY.retention / (24 * 3600), description="Days a finished batch stays queryable."
    )

    # --- Bad input: one at a time it goes to the dead letters; a flood of it stops the worker, exit code 65 --------
    invalid_input_share: Annotated[float, Field(gt=0, le=1)] = Field(
        0.5,
        description="A worker stops when more than this share of a topic's recent input is invalid; 1 switches it off. "
        "Whoever may write to the topic can bring that about, so choose 1 where the writers are not trusted.",
    )
    invalid_input_window: Annotated[Count, Field(le=1_000_000)] = Field(
        1_000, description="How many inputs of a topic count as recent, per worker."
    )
    invalid_input_minimum: Count = Field(
        100, description="Fewer invalid ones among them never stop a worker, whatever their share."
    )

    # --- This worker ---------------------------------------------------------------------------------------------
    operator_token: Token | None = Field(None, description="Bearer token of the commands; unset switches them off.")
    reader_token: Token | None = Field(
        None,
        description="Bearer token for reading the views; so is the operator's. Needed where it is set, and wherever "
        "CJ_WEB_HOST can be reached from other machines. The same for all workers, which ask each other with it.",
    )
    correlation_key: CheckKey = Field(
        SecretStr("cj-stream"),
        description="Secret of the check in correlation ids; the same for all workers, for life.",
    )
    log_format: Literal["console", "json"] = Field("console", description="Logs for people or for machines.")
    log_level: Literal["DEBUG", "INFO", "WARNING", "ERROR"] = Field("INFO", description="Least level that is logged.")

    @property
    def outcome_topics(self) -> dict[OutcomeKind, str]:
        """The topic that each kind of outcome is published to."""
        return {kind: getattr(self, field) for kind, field in _OUTCOME_TOPICS.items()}

    @property
    def slowest_judge_seconds(self) -> float:
        """How long a judge may say that it will take, seconds."""
        return 3600 * (self.slowest_judge_hours or self.batch_max_age_hours / 2)

    @property
    def age_limit_hours(self) -> float:
        """How old a batch may become: as the setting says, and at least twice what the slowest judge may take."""
        return max(self.batch_max_age_hours, 2 * (self.slowest_judge_hours or 0.0))

    @property
    def log_topic(self) -> str:
        """The topic of the events."""
        return self.batch_events_topic

    @property
    def dead_letter_topic(self) -> str:
        """The topic of refused input."""
        return self.dead_letters_topic

    @property
    def table(self) -> str:
        """The name of the one table."""
        return "batches"

    @field_validator("stop_rules", mode="before")
    @classmethod
    def _named_rules(cls, value: object) -> object:
        if not isinstance(value, str):
            return value
        names = [name.strip().lower() for name in value.split(",") if name.strip()]
        return [] if names == ["none"] else names

    @model_validator(mode="after")
    def _topics_differ(self) -> Self:
        outcomes = set(_OUTCOME_TOPICS.values())
        seen: dict[str, str] = {}
        for field in type(self).model_fields:
            if not field.endswith("_topic"):
                continue
            other = seen.setdefault(getattr(self, field), field)
            if other != field and not {field, other} <= outcomes:
                raise ValueError(
                    f"CJ_{other.upper()} and CJ_{field.upper()} are one topic, {getattr(self, field)}: "
                    "only the topics of the outcomes may be"
                )
        return self

    @model_validator(mode="after")
    def _deadlines_fit(self) -> Self:
        attempts_hours = self.comparison_deadline_minutes * self.max_attempts / 60
        if attempts_hours >= self.batch_timeout_hours:
            raise ValueError(
                f"CJ_COMPARISON_DEADLINE_MINUTES x CJ_MAX_ATTEMPTS ({attempts_hours:g} h) must be shorter than "
                f"CJ_BATCH_TIMEOUT_HOURS ({self.batch_timeout_hours:g} h): lower the first two or raise it"
            )
        if self.batch_max_age_hours < self.batch_timeout_hours:
            raise ValueError("CJ_BATCH_MAX_AGE_HOURS must not be shorter than CJ_BATCH_TIMEOUT_HOURS")
        return self

    @model_validator(mode="after")
    def _plan_fits_into_a_record(self) -> Self:
        iteration = self.comparisons_per_essay * self.max_essays // 2
        pairs = min(self.wave_size or iteration, iteration, self.max_comparisons)
        if pairs > MOST_PLANNED_PAIRS:
            raise ValueError(
                f"{pairs} pairs would be planned at a time, at most {MOST_PLANNED_PAIRS} fit into a record: set "
                "CJ_WAVE_SIZE, or lower CJ_COMPARISONS_PER_ESSAY, CJ_MAX_ESSAYS or CJ_MAX_COMPARISONS"
            )
        return self

    @model_validator(mode="after")
    def _limit_can_be_reached(self) -> Self:
        if self.invalid_input_minimum > self.invalid_input_window:
            raise ValueError(
                "CJ_INVALID_INPUT_MINIMUM must not be larger than CJ_INVALID_INPUT_WINDOW: it would never be reached"
            )
        return self
