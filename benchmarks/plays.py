"""The directed faults: each makes one hole of Faust show, deterministically, on a real broker.

A play brings about its fault and everything after it up to the last release of verdicts. It treats every worker alike,
hardened or not: it waits for the moment that would do harm, and when that does not come, it goes on without it.
"""

from __future__ import annotations

import asyncio
import signal
import time

from aiokafka.admin.config_resource import ConfigResource, ConfigResourceType
from scene import PARTITIONS, SESSION_SECONDS, AlteredWorker, Scene

from cj_stream.domain.events import CallbackReceived, PairsPlanned, SubmissionAccepted
from cj_stream.operations.topic_registry import registry


async def _verdicts_held(scene: Scene, essays: int = 20, workers: int = 1) -> None:
    """Bring batches to where every comparison is submitted and no verdict is published yet."""
    scene.provider.holds = lambda _: True
    await scene.started(workers)
    await scene.ask(essays=essays)
    await scene.all_submitted(2 * essays)
    await scene.until(lambda: len(scene.provider.held) == 2 * essays * PARTITIONS, "all verdicts")


async def _all_but_one(scene: Scene, pause: float = 0.0) -> None:
    """Publish what is held but for one verdict of each batch, so that no batch can end yet; ``pause`` between two."""
    last = {
        scene.provider.requests[held.correlation_id]["metadata"]["bos_batch_id"]: held for held in scene.provider.held
    }
    rest = [held for held in scene.provider.held if held not in last.values()]
    scene.provider.held = list(last.values())
    for callback in rest:
        await scene.provider.say(callback.value)
        await asyncio.sleep(pause)


async def _replace_by_empty(scene: Scene) -> float:
    """Kill the worker and have one with an empty folder take over; return when that began."""
    at = time.time()
    scene.workers[-1].kill()
    await scene.started()
    return at


async def slow_changelog(scene: Scene) -> float:
    """The leader of the changelog takes four seconds per request; killed when a commit has passed rows under way."""
    await _verdicts_held(scene, essays=100)
    scene.workers[0].fault("changelog", "4.0")
    await scene.provider.release()

    async def ahead() -> bool:
        rows = scene.verdict_rows()
        return await scene.committed_verdicts() > rows or rows == PARTITIONS * 200

    await scene.within(30, ahead, poll=0.2)
    return await _replace_by_empty(scene)


async def gathered(scene: Scene) -> float:
    """Killed when callbacks are committed whose events are still being gathered."""
    await _verdicts_held(scene)
    before = len(scene.events(CallbackReceived))
    topic = scene.settings.llm_provider_callback_topic
    await scene.provider.release()

    async def committed() -> bool:
        return sum((await scene.committed(topic)).values()) > 0 or len(scene.events(CallbackReceived)) > before

    await scene.within(5, committed, poll=0.01)
    return await _replace_by_empty(scene)


async def refused_record(scene: Scene) -> float:
    """The broker refuses records of the changelog (their size was forbidden by mistake) while verdicts come."""
    await _verdicts_held(scene)
    topic = scene.settings.changelog_topic
    await _allow_bytes(scene, topic, 1)
    at = time.time()
    await _all_but_one(scene)
    await scene.within(5, scene.committed_all, poll=0.2)
    await _allow_bytes(scene, topic, 1024 * 1024)
    await scene.until(scene.committed_all, "the commit of the verdicts")
    await scene.served()
    await _replace_by_empty(scene)
    await scene.provider.release()
    return at


async def _allow_bytes(scene: Scene, topic: str, count: int) -> None:
    # The request sets all that it does not name back to the broker's defaults.
    config = next(spec.config() for spec in registry(scene.settings) if spec.name == topic)
    changed = {**config, "max.message.bytes": str(count)}
    await scene.admin.alter_configs([ConfigResource(ConfigResourceType.TOPIC, topic, changed)])
    # The answer comes before the broker acts on it, by a moment.
    await asyncio.sleep(0.5)


async def raised(scene: Scene) -> float:
    """The disk fails for a moment while the batch agent handles verdicts."""
    await _verdicts_held(scene)
    scene.workers[0].fault("error")
    at = time.time()
    await scene.provider.release()
    return at


async def kept_folder(scene: Scene) -> float:
    """Killed with rows on the disk that the broker has not; started on that disk, killed, then on an empty one."""
    await _verdicts_held(scene)
    worker = scene.workers[0]
    worker.fault("changelog")
    await _all_but_one(scene)

    # Not all of them: a worker writes only a few flushes of a partition ahead of the broker, and then waits.
    async def applied() -> bool:
        return any([await scene.judged(request.batch_id) > 0 for request in scene.requests])

    await scene.until(applied, "verdicts are applied")
    at = time.time()
    worker.kill()
    worker.no_faults()
    worker.start()
    await scene.served()
    await scene.until(scene.committed_all, "the commit of the verdicts")
    await _replace_by_empty(scene)
    await scene.provider.release()
    return at


async def frozen_with_verdicts(scene: Scene) -> float:
    """Frozen with verdicts in its queue, continued when another has ended the batches; then both are replaced."""
    await _verdicts_held(scene, workers=2)
    frozen, other = scene.workers
    frozen.fault("handling")
    await scene.provider.release()
    await scene.within(5, lambda: len(scene.events(CallbackReceived)) == PARTITIONS * 40)
    at = time.time()
    await _freeze_until_taken_over(scene)
    await scene.until(lambda: len(scene.mailbox.outcome_records("result")) >= PARTITIONS, "the ends of all batches")
    await _continue(scene)
    scene.provider.holds = lambda _: True
    for worker in (frozen, other):
        worker.kill()
    await scene.started()
    return at


async def cut_off_with_a_plan(scene: Scene) -> float:
    """Cut off from the group, but not from the provider, with a plan in its queue that another has carried out."""
    scene.provider.holds = lambda _: True
    await scene.started(2)
    cut_off, other = scene.workers
    cut_off.fault("handling", "PairsPlanned")
    await scene.ask()
    await scene.within(5, lambda: len(scene.events(PairsPlanned)) == PARTITIONS)
    at = time.time()
    cut_off.fault("heartbeat")
    await _taken_over(scene, other)
    await scene.until(lambda: len(scene.events(SubmissionAccepted)) >= PARTITIONS * 40, "the acceptances")
    (cut_off.gates / "handling").unlink()
    await asyncio.sleep(SESSION_SECONDS / 2)  # what it does wrongly it does at once
    await _continue(scene)
    await scene.until(scene.committed_all, "the commit of the acceptances")
    await scene.provider.release()
    return at


async def _freeze_until_taken_over(scene: Scene) -> None:
    frozen, other = scene.workers
    await asyncio.sleep(0.5)  # until what is in the log is in its queue, which cannot be seen from outside
    frozen.send(signal.SIGSTOP)
    await _taken_over(scene, other)


async def _taken_over(scene: Scene, other: AlteredWorker) -> None:
    async def taken_over() -> bool:
        return len(await other.open_partitions()) == PARTITIONS

    await scene.until(taken_over, "the other worker has all partitions")


async def _continue(scene: Scene) -> None:
    frozen = scene.workers[0]
    frozen.no_faults()
    frozen.send(signal.SIGCONT)
    await asyncio.sleep(SESSION_SECONDS / 2)  # what it does wrongly it does at once
    await scene.served()


async def backlog(scene: Scene) -> float:
    """Started on an empty folder with verdicts waiting in the log; handling one and telling an offset take time."""
    await _verdicts_held(scene)
    (worker,) = scene.workers
    worker.fault("handling")
    await _all_but_one(scene, pause=0.01)
    await scene.until(lambda: len(scene.events(CallbackReceived)) == PARTITIONS * 39, "the verdicts in the log")
    worker.kill()
    other = scene.worker()
    other.fault("handling", "0.05")
    other.fault("committed", "0.2")
    at = time.time()
    other.start()
    await scene.served()
    other.no_faults()
    await scene.provider.release()
    return at


async def joined(scene: Scene) -> float:
    """A second worker joins while verdicts come in; the broker takes 0.2 s to tell a committed offset."""
    await _verdicts_held(scene, essays=100)
    scene.workers[0].fault("committed", "0.2")
    at = time.time()
    second = scene.worker()
    second.fault("committed", "0.2")
    second.start()
    await scene.provider.release()
    await scene.served()
    return at


async def unread_acceptances(scene: Scene) -> float:
    """Killed when all is accepted, and the reports of that lie unread in the log, where reading takes its time."""
    scene.provider.holds = lambda _: True
    (worker,) = await scene.started()
    worker.fault("handling", "SubmissionAccepted")
    await scene.ask(count=1)
    await scene.until(lambda: len(scene.events(SubmissionAccepted)) == 40, "the reports of acceptance")
    at = time.time()
    worker.kill()
    other = scene.worker()
    other.fault("handling", "0.05")
    other.start()
    await scene.served()
    await scene.until(scene.committed_all, "the commit of the acceptances")
    await scene.provider.release()
    return at


ACCEPT_SECONDS = SESSION_SECONDS / 4
"""Half of what a submission may take: a worker waits half a session for it when partitions are taken away."""


async def stopped_while_submitting(scene: Scene) -> float:
    """Stopped in order while submissions are under way, and started again; verdicts come afterwards."""
    # It waits for them twice as long as when partitions are taken away.
    scene.provider.accept_seconds, scene.provider.holds = 2 * ACCEPT_SECONDS, lambda _: True
    (worker,) = await scene.started()
    await scene.ask(essays=8)
    await scene.until(lambda: len(scene.provider.submissions) > 0, "a submission is under way")
    at = time.time()
    await worker.stop()
    worker.start()
    # A verdict that comes earlier would hide that its submission was forgotten.
    await scene.all_submitted(16)
    await scene.provider.release()
    return at


async def joined_while_submitting(scene: Scene) -> float:
    """Another worker joins while submissions are under way, each of a quarter of a session; verdicts come later."""
    return await _joined_while_submitting(scene, ACCEPT_SECONDS)


async def joined_while_submitting_slowly(scene: Scene) -> float:
    """The same with submissions of three sessions, too long to be waited for: what is submitted again was cut off."""
    return await _joined_while_submitting(scene, 3 * SESSION_SECONDS, essays=4)


async def _joined_while_submitting(scene: Scene, accept_seconds: float, essays: int = 8) -> float:
    scene.provider.accept_seconds, scene.provider.holds = accept_seconds, lambda _: True
    await scene.started()
    await scene.ask(essays=essays)
    await scene.until(lambda: len(scene.provider.submissions) > 0, "a submission is under way")
    at = time.time()
    await scene.started()
    await scene.all_submitted(min(2 * essays, essays * (essays - 1) // 2))
    await scene.provider.release()
    return at


async def killed_before_durable(scene: Scene) -> float:
    """Killed while the rows that cause submissions are not acknowledged; another takes over with an empty folder."""
    scene.provider.holds = lambda _: True
    (worker,) = await scene.started()
    worker.fault("changelog")
    await scene.ask()
    await scene.within(5, lambda: len(scene.provider.submissions) == PARTITIONS * 40)
    at = await _replace_by_empty(scene)
    await scene.all_submitted(40)
    await scene.provider.release()
    return at


async def lost_answer(scene: Scene) -> float:
    """The broker's answer to the publication of a result gets lost, so that the client sends it again."""
    await _verdicts_held(scene)
    scene.workers[0].fault("answer")
    at = time.time()
    await scene.provider.release()
    return at


async def blocked(scene: Scene) -> float:
    """One of two workers blocks its event loop for good, while its thread goes on sending heartbeats."""
    await _verdicts_held(scene, workers=2)
    scene.workers[0].fault("blocked")
    at = time.time()
    await scene.provider.release()
    if await scene.within(30, lambda: scene.workers[0].ended_itself > 0):
        scene.workers[0].no_faults()
    return at
