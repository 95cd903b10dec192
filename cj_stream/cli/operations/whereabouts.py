"""Where what was deleted lies still, and until when: the topics of the service, and what nobody here can reach."""

from __future__ import annotations

from typing import NamedTuple

from pydantic import ValidationError

from cj_stream.engine.keeping import ASKED, keeping
from cj_stream.engine.provisioning import configurations
from cj_stream.engine.starting import settings_problems
from cj_stream.gateway.gateway_settings import GATEWAY, GatewaySettings
from cj_stream.operations.environment import BadSettingsError
from cj_stream.operations.settings import Settings

OUT_OF_REACH = (
    "The texts themselves: delete them where they lie, in the content service or its folder.",
    "The data folders of workers and standbys: what was deleted stays in their files until RocksDB rewrites them.",
    "A worker that had a batch before another took it over keeps texts in memory for an hour after their last use.",
    "Dead letters that do not name what is to be forgotten, and their places in Kafka's files until those are deleted.",
    "The LLM provider, and the model's operator behind it: they have had texts in prompts.",
    "Whoever reads the outcome topics, the logs of workers (ids, never texts), and backups.",
)
"""What ``cj-stream forget`` does not delete, in sentences."""


def check_gateway_settings() -> None:
    """Raise `BadSettingsError` when the environment has wrong settings of a gateway: its topics are not known then."""
    _gateway()


def _gateway() -> GatewaySettings:
    try:
        return GatewaySettings()
    except ValidationError as error:
        raise BadSettingsError(settings_problems(error, GATEWAY)) from error


class KeptPlace(NamedTuple):
    """A topic that still holds bytes, what they are, and until when."""

    name: str
    what: str
    until: str

    @property
    def row(self) -> dict[str, str]:
        """The same for machines."""
        return {"topic": self.name, "what": self.what, "until": self.until}


async def places(settings: Settings, now: float) -> list[KeptPlace]:
    """Return the topics that there are, as the broker has them configured; ``now`` is in seconds since the epoch.

    Raises:
        ProvisioningError: no broker answers, or it does not tell.

    """
    held = _held(settings)
    found = await configurations(settings.kafka, tuple(held), ASKED)
    return [KeptPlace(name, what, keeping(found[name], now).told) for name, what in held.items() if name in found]


def _held(settings: Settings) -> dict[str, str]:
    gateway = _gateway()
    return {
        gateway.jobs_topic: "comparisons with both texts, raw answers and what judges wrote",
        gateway.changelog_topic: "the same, before the rows of answered comparisons lost their texts",
        gateway.dead_letters_topic: "ids of comparisons",
        settings.changelog_topic: "the rows before they were deleted, with what judges wrote",
        settings.batch_events_topic: "the events that the rows were made from, with what judges wrote",
        settings.batch_timeouts_topic: "ids of batches",
        settings.dead_letters_topic: "what is left of deleted dead letters",
        settings.assessment_request_topic: "the request, with ids and the task",
        settings.llm_provider_callback_topic: "what judges wrote",
        settings.assessment_completed_topic: "ids and ranks",
        settings.assessment_failed_topic: "ids and reasons",
        settings.assessment_result_topic: "ids, ranks and scores",
    }
