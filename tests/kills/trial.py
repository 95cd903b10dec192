"""One run: batches with a known end, workers that are supervised, and whatever happens to them."""

from __future__ import annotations

import asyncio
import shutil
import time
from collections import Counter
from collections.abc import Awaitable, Callable
from itertools import chain
from random import Random
from typing import Protocol

from kills import account
from kills.history import History
from kills.ledger import Ledger
from kills.points import AT_A_BEGINNING, AT_BAD_INPUT, obeyed, order_text
from kills.post import DisorderlyPost
from support.domain.oracle import expected_batch
from support.installation.counting_provider import judge_of
from support.installation.fleet import SAFE_EXIT, WorkerProcess
from support.installation.stage import Stage, batches_everywhere, document_of, new_request

from cj_stream.contracts.request_reader import AssessmentRequest
from cj_stream.devkit.kafka import LocalKafka
from cj_stream.domain.batch import Batch

SMALLEST, LARGEST = 2, 12
RESTART_SECONDS = 0.5
NUDGE_SECONDS = 0.3
PATIENCE = 120.0
EXPECTED_ENDS = {0, SAFE_EXIT, -9}


class Fault(Protocol):
    """Something that happens to a trial."""

    async def happen(self, trial: Trial) -> None:
        """Let it happen, and return when it is over."""


class Wrong(AssertionError):  # noqa: N818 -- the message says it all
    """Something did not come to be as it must."""


class Trial:
    """What faults act on. ``broken`` collects whatever must not be."""

    def __init__(
        self,
        stage: Stage,
        post: DisorderlyPost,
        kafka: LocalKafka,
        history: History,
        *,
        seed: int,
        batches: int,
    ) -> None:
        self.stage = stage
        self.post = post
        self.kafka = kafka
        self.history = history
        self.random = Random(seed)
        self.ledger = Ledger(stage.settings, stage.mailbox)
        self.batches = batches
        self.requests: list[AssessmentRequest] = []
        self.expected: dict[str, Batch] = {}
        self.broken: list[str] = []
        self.supervised: set[WorkerProcess] = set()
        self.ends: list[tuple[str, int | None]] = []
        """Workers that ended by themselves or were killed, with their exit codes."""
        self._asked = 0
        self._orders = 0

    # --- Batches ---------------------------------------------------------------------------------------------------

    async def prepare(self) -> None:
        """Choose the batches, more small than large ones, and find out how each of them must end."""
        for batch_id in batches_everywhere(self.batches, self.stage.settings):
            essays = min(self.random.randint(SMALLEST, LARGEST) for _ in range(2))
            request = new_request(batch_id, essays, content=batch_id)
            self.requests.append(request)
            self.expected[batch_id] = await expected_batch(request, self.stage.settings, judge_of())

    @property
    def total(self) -> int:
        """Verdicts that all batches need."""
        return sum(batch.total_comparisons for batch in self.expected.values())

    @property
    def applied(self) -> int:
        """Comparisons that have their verdict, according to the changelog."""
        self.ledger.update()
        return len(self.ledger.judgements)

    async def ask(self, verdicts: int) -> None:
        """Send requests until their batches together need so many verdicts, or all are sent; every fifth goes twice."""
        while self._asked < len(self.requests) and self._asked_for() < verdicts:
            request = self.requests[self._asked]
            self._asked += 1
            for _ in range(2 if self._asked % 5 == 0 else 1):
                await self.stage.ask(request)

    def _asked_for(self) -> int:
        return sum(self.expected[request.batch_id].total_comparisons for request in self.requests[: self._asked])

    async def poison(self) -> None:
        """Send what nobody can read, to every topic that the workers read."""
        settings = self.stage.settings
        for topic in (settings.assessment_request_topic, settings.llm_provider_callback_topic):
            await self.stage.mailbox.send(topic, self.post.broken(b"what is this?"))
        partition = self.random.randrange(settings.partitions)
        await self.stage.mailbox.send(settings.batch_events_topic, self.post.broken(b"no event"), partition=partition)

    # --- Progress --------------------------------------------------------------------------------------------------

    async def until(self, condition: Callable[[], bool | Awaitable[bool]], what: str) -> None:
        """Wait for a condition; raises `Wrong`, with how things stand, when it does not come true."""
        deadline = time.monotonic() + PATIENCE
        while True:
            self.post.check()
            holds = condition()
            if holds if isinstance(holds, bool) else await holds:
                return
            if time.monotonic() > deadline:
                missing = [key for key in self.expected if key not in self.ended()]
                self.broken.append(f"not within {PATIENCE:g} s: {what}")
                raise Wrong(
                    f"not within {PATIENCE:g} s: {what}; {self.applied} of {self.total} verdicts are applied, "
                    f"without an end: {missing}\n{await self.stage.fleet.standing()}\n{self.stage.fleet.tails(12)}"
                )
            await asyncio.sleep(0.05)

    async def progress(self, verdicts: int) -> None:
        """Wait until so many verdicts are applied in all."""
        before = self.applied
        await self.until(lambda: self.applied >= verdicts, f"{verdicts} verdicts are applied")
        self.history.note("progress", verdicts=self.applied, more=self.applied - before, ended=len(self.ended()))

    async def go_on(self, verdicts: int) -> None:
        """Let enough verdicts come, and wait until so many more are applied."""
        self.post.allowed = min(self.post.allowed + 2 * verdicts, self.total - 1)
        await self.progress(min(self.applied + verdicts, self.total - 1))

    def ended(self) -> set[str]:
        """Return the batches that have an outcome."""
        records = self.stage.mailbox.outcome_records("completed")
        return {document_of(record.value)["data"]["entity_id"] for record in records}

    async def serving(self) -> None:
        """Wait until the supervised workers serve all partitions."""

        async def served() -> bool:
            answers = [await self.stage.fleet.partitions(worker) for worker in list(self.supervised)]
            opened = sorted(chain.from_iterable(answers))
            return all(answers) and opened == list(range(self.stage.settings.partitions))

        await self.until(served, "all partitions are served")

    # --- Workers ---------------------------------------------------------------------------------------------------

    def worker(self, number: int) -> WorkerProcess:
        """Return a worker by its number, from 1 on; it is made when it is first asked for."""
        while len(self.stage.fleet.workers) < number:
            self.stage.fleet.worker()
        return self.stage.fleet.workers[number - 1]

    def start(self, worker: WorkerProcess) -> None:
        """Start a worker, and again whenever it ends by itself."""
        worker.start(may_end=True)
        self.supervised.add(worker)

    def dismiss(self, worker: WorkerProcess) -> None:
        """Leave a worker to its fault: nobody starts it again."""
        self.supervised.discard(worker)

    async def stop(self, worker: WorkerProcess) -> None:
        """Stop a worker in order (SIGTERM)."""
        self.dismiss(worker)
        worker.terminate()
        await self.until(lambda: not worker.runs, f"{worker.name} ends in order")
        self.history.note("stopped", worker=worker.name, code=worker.exit_code)
        if worker.exit_code != 0:
            raise Wrong(f"{worker.name} was stopped in order and ended with {worker.exit_code}\n{worker.tail(40)}")
        if not (worker.data_dir / "clean-stop").exists():
            self.broken.append(f"{worker.name} was stopped in order, and has not marked its disk as clean")

    async def killed_at(self, worker: WorkerProcess, point: str, passage: int) -> None:
        """Wait until the worker has died at a point of its code; what has it get there keeps coming.

        When only the last verdict is left and it did not get there, it is killed where it is.
        """
        self.order(worker, point, passage)
        nudged = time.monotonic()

        async def has_died() -> bool:
            nonlocal nudged
            if time.monotonic() > nudged + NUDGE_SECONDS:
                await self._nudge(point)
                nudged = time.monotonic()
            return not worker.runs or self.applied >= self.total - 1

        await self.until(has_died, f"{worker.name} passes {point!r}")
        if worker.runs:
            worker.order.unlink(missing_ok=True)
            worker.kill()
            self.ends.append((worker.name, worker.exit_code))
            self.history.note("killed", worker=worker.name, not_at=point)
        else:
            self.confirm(worker, point)

    async def _nudge(self, point: str) -> None:
        if point in AT_A_BEGINNING:
            await self.ask(self._asked_for() + 1)
        elif point in AT_BAD_INPUT:
            await self.poison()
        self.post.allowed = min(self.post.allowed + 2, self.total - 1)

    def order(self, worker: WorkerProcess, point: str, passage: int) -> None:
        """Tell a worker to kill itself at this passage of a point, and do not start it again."""
        self.dismiss(worker)
        self._orders += 1
        obeyed(worker.order).unlink(missing_ok=True)
        draft = worker.order.with_suffix(".draft")
        draft.write_text(order_text(point, passage, str(self._orders)))
        draft.rename(worker.order)

    def confirm(self, worker: WorkerProcess, point: str) -> None:
        """Note that a worker has died of its order, or that it has not."""
        was_it = obeyed(worker.order).exists()
        worker.order.unlink(missing_ok=True)
        self.ends.append((worker.name, worker.exit_code))
        self.history.note("died", worker=worker.name, point=point if was_it else None, code=worker.exit_code)
        if not was_it:
            raise Wrong(f"{worker.name} ended with {worker.exit_code}, not at {point!r}\n{worker.tail(40)}")

    async def supervise(self) -> None:
        """Start workers again that ended by themselves, as whoever runs them does."""
        while True:
            await asyncio.sleep(RESTART_SECONDS)
            for worker in list(self.supervised):
                if not worker.runs:
                    self.ends.append((worker.name, worker.exit_code))
                    self.history.note("restarted", worker=worker.name, code=worker.exit_code)
                    if worker.exit_code not in EXPECTED_ENDS:
                        self.broken.append(f"{worker.name} ended with {worker.exit_code}\n{worker.tail(40)}")
                    worker.start(may_end=True)

    # --- The account -----------------------------------------------------------------------------------------------

    @property
    def submissions(self) -> dict[int, int]:
        """How many attempts were submitted once, twice and so on."""
        return dict(sorted(Counter(self.post.submissions.values()).items()))

    async def check_commits(self) -> None:
        """Check that nothing is committed that is not applied."""
        committed = await self.stage.mailbox.committed()
        await self.until(self.stage.mailbox.is_all_read, "the mailbox has everything")
        self.ledger.update()
        self.broken += account.commits(self.ledger, self.stage, committed)

    async def check_end(self) -> None:
        """Check everything, when everything has ended, and stop the workers."""
        await self.check_commits()
        owned = {worker.data_dir: await self.stage.fleet.partitions(worker) for worker in list(self.supervised)}
        tables = await account.live_tables(self.ledger, self.stage)
        await asyncio.gather(*(self.stop(worker) for worker in list(self.supervised)))
        for found in (
            account.outcomes(self.stage, self.expected),
            account.verdicts(self.ledger, self.expected),
            tables,
            account.disks(self.ledger, owned),
            account.submissions(self.ledger, self.post),
            account.dead_letters(self.stage, self.post),
        ):
            self.broken += found
        self.history.note(
            "account",
            verdicts=self.applied,
            submissions=self.submissions,
            dead_letters=len(self.stage.mailbox.dead_letters),
            poison=len(self.post.poison),
            outcomes=sum(len(self.stage.mailbox.outcome_records(kind)) for kind in ("completed", "failed", "result")),
            ends=[code for _, code in self.ends],
            broken=self.broken,
        )


def empty(worker: WorkerProcess) -> None:
    """Take a worker's disk away."""
    shutil.rmtree(worker.data_dir, ignore_errors=True)
