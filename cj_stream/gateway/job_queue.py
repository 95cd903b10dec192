"""How much lies unanswered, so that a gateway can say that it takes no more.

Each gateway counts what it serves. Ids are spread evenly, so its share of the partitions has that share of all jobs.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator

from cj_stream.engine.opening import Opener
from cj_stream.gateway.gateway_settings import GatewaySettings
from cj_stream.gateway.job_home import JobHome

BYTES_OF_A_MEGABYTE = 1_000_000


class Queue:
    """The jobs without an answer of the partitions that are served here; while there are none, what came meanwhile."""

    def __init__(self, settings: GatewaySettings, homes: Callable[[], Iterator[JobHome]], opener: Opener) -> None:
        self._settings = settings
        self._homes = homes
        self._opener = opener
        self._unseen = 0
        """Jobs that were taken while no partition was served here: they may be anywhere."""

    def size(self) -> tuple[int, int]:
        """Return how many jobs there are, and the bytes of their texts."""
        homes = [home.unanswered for home in self._homes()]
        return sum(map(len, homes)), sum(jobs.bytes for jobs in homes)

    def taken(self) -> None:
        """Note that a job was taken."""
        self._unseen = 0 if self._opener.ready else self._unseen + 1

    def is_full(self) -> bool:
        """Return whether no more jobs are taken for now."""
        share, (jobs, size) = self._share(), self.size()
        if not share:
            return self._unseen >= self._settings.queue_jobs
        most = self._settings.queue_megabytes * BYTES_OF_A_MEGABYTE
        return jobs >= self._settings.queue_jobs * share or size >= most * share

    def of_all(self) -> int:
        """Return the estimate of how many jobs all gateways have."""
        share = self._share()
        return round(self.size()[0] / share) if share else 0

    def _share(self) -> float:
        return len(self._opener.opened_at) / self._settings.partitions
