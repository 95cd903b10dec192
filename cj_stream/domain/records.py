"""The rows of a batch: what is stored of it, each written once or rarely, and the small control row.

Rows are immutable. The control row is written last at every change: it is the commit record of the event, and it says
how many of the other rows count (``iteration`` plans, ``fits`` scores). Times are seconds since the epoch, UTC.
"""

from __future__ import annotations

from enum import IntEnum
from typing import Literal

import msgspec

from cj_stream.domain.policy import Policy
from cj_stream.domain.states import BatchState, FailureReason
from cj_stream.scoring.quality.stopping import StopReason

Slot = Literal["A", "B"]
"""The place in which an essay was presented to the judge: A is the first."""


class Row(msgspec.Struct, frozen=True, array_like=True, kw_only=True, gc=False):
    """Base of all rows: arrays on disk, so a new field goes to the end and has a default."""

    @property
    def number(self) -> int:
        """What tells the rows of one kind and batch apart; 0 for kinds with one row."""
        return 0


class Essay(Row, frozen=True):
    """An essay as the request names it; its text stays in the content service."""

    id: str
    storage_id: str


class Overrides(Row, frozen=True):
    """What a request may set for the LLM provider; None means the service's default."""

    provider: str | None = None
    model: str | None = None
    temperature: float | None = None
    max_tokens: int | None = None
    system_prompt: str | None = None
    judge_rubric: str | None = None
    reasoning_effort: str | None = None
    output_verbosity: str | None = None


class Context(Row, frozen=True):
    """What goes with a request besides its essays: for the prompt, and to be handed on in the outcome."""

    language: str | None = None
    course_code: str | None = None
    prompt_storage_id: str | None = None
    instructions: str | None = None
    overrides: Overrides = Overrides()
    assignment_id: str | None = None
    user_id: str | None = None
    org_id: str | None = None
    traceparent: str | None = None


class Roster(Row, frozen=True):
    """The request as accepted, with the policy and the seed it will be judged by. Written once."""

    batch_id: str
    run: int
    correlation_id: str
    digest: str
    essays: tuple[Essay, ...]
    context: Context
    policy: Policy
    seed: int


class Content(Row, frozen=True):
    """Which essays have a usable text, as positions in the roster, and why the others have not."""

    usable: tuple[int, ...]
    unusable: dict[int, str]
    texts: tuple[bytes, ...] = ()
    """The first 16 bytes of the SHA-256 of each text, by position in the roster; empty for one that is not usable."""
    question_sha256: str = ""
    """Of all that the comparisons are asked with besides the texts: template, rubric, task, model, parameters."""
    question: str = ""
    """The same as JSON; empty where it is too long to be kept."""


class Plan(Row, frozen=True):
    """Pairs planned together, as positions in the roster, first-presented essay first.

    That is an iteration, or a wave of it where the policy has a wave size.
    """

    iteration: int
    """The number of the plan, from 1."""
    first_index: int
    pairs: tuple[tuple[int, int], ...]

    @property
    def number(self) -> int:
        """The number of the plan."""
        return self.iteration


class ComparisonStatus(IntEnum):
    """How far the current attempt of a comparison is."""

    PLANNED = 0
    """To be submitted."""
    ACCEPTED = 1
    """The provider has it; a callback is awaited until the deadline."""
    FAILED = 2
    """The attempt failed; another one may follow."""
    JUDGED = 3
    """There is a verdict. Nothing changes a judged comparison."""


class Receipt(Row, frozen=True):
    """What came with an answer besides the verdict or the error: what it cost, and where it came from."""

    input_tokens: int = 0
    output_tokens: int = 0
    cost: float | None = None
    """US dollars; None where the price is unknown."""
    raw_llm_response: str | None = None
    flags: tuple[str, ...] = ()
    """What was noticed, such as a text that speaks to the judge."""
    error_service: str | None = None
    error_timestamp: str | None = None
    error_correlation_id: str | None = None
    """The error's own; no comparison is found by it."""
    error_details: str | None = None
    """As JSON."""
    earlier_cost: float = 0.0
    """US dollars of the attempts before this one; what was unknown of them counts as nothing."""
    earlier_tokens: tuple[int, int] = (0, 0)
    """Tokens of the attempts before this one, in and out."""
    reused: bool = False
    """Whether the verdict was taken over from another run, and so was paid for there."""


class Comparison(Row, frozen=True):
    """One planned comparison and what became of it. Written when first accepted or settled."""

    index: int
    status: ComparisonStatus = ComparisonStatus.PLANNED
    attempt: int = 1
    submitted_at: float | None = None
    completed_at: float | None = None
    winner: Slot | None = None
    confidence: float | None = None
    justification: str | None = None
    provider: str | None = None
    model: str | None = None
    error_code: str | None = None
    error_message: str | None = None
    answered: bool = False
    """Whether a failed attempt was answered by the provider; if not, it was never accepted."""
    expected_wait: float | None = None
    """Seconds within which the provider expects to answer, with a margin, where that is longer than the deadline."""
    receipt: Receipt | None = None

    @property
    def number(self) -> int:
        """The index of the comparison."""
        return self.index

    def due_at(self, deadline: float) -> float:
        """Return until when an accepted attempt is waited for; ``deadline`` in seconds is that of its batch."""
        return (self.submitted_at or 0.0) + max(deadline, self.expected_wait or 0.0)


class Scores(Row, frozen=True):
    """One fit. ``theta`` and ``standard_error`` are in logits, in the order of `Content.usable`, theta centred."""

    fit: int
    iteration: int
    verdicts: int
    """Verdicts that the fit holds."""
    theta: tuple[float, ...]
    standard_error: tuple[float, ...]
    reliability: float | None
    """EAP reliability; None where it is undefined."""
    ssr: float | None
    comparisons: tuple[int, ...]
    wins: tuple[float, ...]
    components: int
    """Connected components of the comparison graph."""
    position_bias: float | None = None
    previous_reliability: float | None = None
    """EAP reliability without the verdicts of the last round (half as many as essays); None when there were no more."""
    largest_change: float | None = None
    """Largest absolute change of a score over the last round, logits."""
    grade_certainty: float | None = None
    """Expected share of right grades; None without boundaries."""

    @property
    def number(self) -> int:
        """The number of the fit."""
        return self.fit


class Origin(Row, frozen=True):
    """Where a request lies in the request topic, and when it was put there (the record's timestamp)."""

    partition: int
    offset: int
    at: float


class RefusedRequest(Row, frozen=True):
    """A request that was turned away while the batch was live, and still has to be told so."""

    correlation_id: str
    reason: str
    at: float


class Unpublishable(Row, frozen=True):
    """An outcome that its topic will never take: nobody was told by it, and nobody waits for it."""

    outcome: str
    """Its `Outcome.name`."""
    why: str
    at: float


class Control(Row, frozen=True):
    """The commit record: state, position, and what is left to publish. Small, whatever the size of the batch."""

    state: BatchState
    created_at: float
    activity_at: float
    """Last time the provider, the content service or an operator moved this batch."""
    state_since: float
    iteration: int = 0
    """Plans that count."""
    fits: int = 0
    """Scores that count."""
    scoring_round: int = 0
    """Counts the requests for a fit, so that a repeated one is told from a new one."""
    partial_scoring_triggered: bool = False
    stop_reason: StopReason | None = None
    """Why no more pairs are planned; set before the final fit."""
    failure: FailureReason | None = None
    failure_details: dict[str, float | int | str] = {}
    finished_at: float | None = None
    joined: tuple[str, ...] = ()
    """Correlation ids of further requests for the same content."""
    refusals: tuple[RefusedRequest, ...] = ()
    published: tuple[str, ...] = ()
    """Outcomes the broker has acknowledged, each as its `Outcome.name`."""
    origins: tuple[Origin, ...] = ()
    """The last request for this batch id, of any run, from each partition of the request topic."""
    unpublishable: tuple[Unpublishable, ...] = ()
    awaited_until: float = 0.0
    """Until when a provider expects to answer that takes longer than a deadline: waiting for it is no idleness."""
    provider_untold: bool = False
    """Whether the provider is still to be told that nothing of this run is wanted any more."""
    reused: int | None = None
    """Verdicts taken over from another run; None before anybody has looked for them."""
