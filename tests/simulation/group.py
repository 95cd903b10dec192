"""The consumer group's coordinator: members, sessions, generations, and the eager protocol of a rebalance.

Members have names, those of their machines (KIP-345): who comes back within its session gets its partitions at once.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, NamedTuple

from faust.types import TP
from simulation.broker import Broker
from simulation.clock_loop import Scheduler
from simulation.history import History

if TYPE_CHECKING:
    from simulation.process import Process

REBALANCE_TIMEOUT = 60.0
SLOWEST_ANSWER = 0.3
"""Seconds that the answer to a heartbeat takes at most."""


class Share(NamedTuple):
    """What a member gets: the partitions it reads, and the numbers of those it keeps a copy of."""

    sources: set[TP]
    standbys: set[int]


class Group:
    """Knows who is a member and who owns which partition.

    ``topics``: what the members read, first the one whose partitions have a table. ``standbys``: whether there are any.
    """

    def __init__(
        self,
        scheduler: Scheduler,
        broker: Broker,
        history: History,
        topics: list[str],
        session: float,
        *,
        standbys: bool,
    ) -> None:
        self._standbys = standbys
        self._scheduler = scheduler
        self._broker = broker
        self._history = history
        self._topics = topics
        self._session = session
        self.generation = 0
        self.rebalances = 0
        self._preparing = False
        self._seen: dict[Process, float] = {}
        self._joined: set[Process] = set()
        self._given: dict[Process, Share] = {}
        """What each member got in the last rebalance."""

    def join(self, process: Process) -> None:
        """Take in a new member."""
        if self._replaces(process):
            return
        self._seen[process] = self._scheduler.clock.now
        self._prepare()
        self._joined.add(process)
        self._beat(process)
        self._complete_soon()

    def _replaces(self, process: Process) -> bool:
        """Put the process in the place of its dead predecessor, unless the group is being shared out anew."""
        before = next((member for member in self._seen if member.node is process.node), None)
        if before is None:
            return False
        del self._seen[before]
        self._joined.discard(before)
        if self._preparing or before not in self._given:
            return False
        self._history.note("group", f"{process.name} takes the place of {before.name}")
        self._seen[process] = self._scheduler.clock.now
        self._given[process] = self._given.pop(before)
        process.waits = False
        self._scheduler.after(0.02, process.assign, self._given[process], self.generation)
        self._beat(process)
        return True

    def rejoin(self, process: Process) -> None:
        """A member has given up its partitions and waits for new ones."""
        if process in self._seen:
            if not self._preparing:
                self._prepare()
            self._joined.add(process)
            self._complete_soon()

    def leave(self, process: Process) -> None:
        """A member goes."""
        if self._seen.pop(process, None) is not None:
            self._joined.discard(process)
            self._prepare()
            self._complete_soon()

    def shake(self) -> None:
        """Have everybody give up everything and share it out anew, as after any change of the group."""
        if self._seen and not self._preparing:
            self._prepare()

    def knows(self, process: Process) -> bool:
        """Return whether the process is a member."""
        return process in self._seen

    def accepts(self, process: Process, generation: int) -> bool:
        """Return whether a commit of this member and generation counts."""
        return process in self._seen and generation == self.generation

    def silent(self, process: Process) -> None:
        """The member sends no more heartbeats: its session runs out."""
        self._scheduler.after(self._session + 0.01, self._expire, process)

    def _expire(self, process: Process) -> None:
        if self._broker.away:
            self._scheduler.after(self._broker.away + self._session, self._expire, process)
            return
        seen = self._seen.get(process)
        if seen is not None and self._scheduler.clock.now - seen > self._session:
            self._history.note("group", f"{process.name} is dropped")
            self.leave(process)

    def _prepare(self) -> None:
        self._preparing = True
        self._joined = {member for member in self._joined if member in self._seen and member.waits}
        self._scheduler.after(REBALANCE_TIMEOUT, self._give_up, self.generation)

    def _give_up(self, generation: int) -> None:
        if self._preparing and generation == self.generation:
            for member in [member for member in self._seen if member not in self._joined]:
                self._history.note("group", f"{member.name} did not come back")
                del self._seen[member]
            self._complete_soon()

    def _complete_soon(self) -> None:
        self._scheduler.after(0.02 + self._scheduler.chance.random() * 0.1, self._complete)

    def _complete(self) -> None:
        if self._broker.away:
            self._scheduler.after(self._broker.away, self._complete)
            return
        if not self._preparing or not self._seen or self._joined != self._seen.keys():
            return
        self._preparing = False
        self.generation += 1
        self.rebalances += 1
        shares = self._given = self._shares()
        self._joined = set()
        for member, share in shares.items():
            member.waits = False
            self._scheduler.after(self._scheduler.chance.random() * 0.05, member.assign, share, self.generation)

    def _shares(self) -> dict[Process, Share]:
        members = list(self._seen)
        shares = {member: Share(set(), set()) for member in members}
        for topic in self._topics:
            self._scheduler.chance.shuffle(members)
            for number in range(self._broker.partitions[topic]):
                shares[members[number % len(members)]].sources.add(TP(topic, number))
                if topic == self._topics[0] and self._standbys and len(members) > 1:
                    # Never the owner: it is as many places further on as there are others, at most.
                    further = self._scheduler.chance.randint(1, len(members) - 1)
                    shares[members[(number + further) % len(members)]].standbys.add(number)
        told = {
            member.name: sorted(tp.partition for tp in share.sources if tp.topic == self._topics[0])
            for member, share in shares.items()
        }
        self._history.note("group", f"generation {self.generation}: {told}")
        return shares

    def _beat(self, process: Process) -> None:
        if process.dead:
            return
        if process.frozen:
            process.on_thaw.append(lambda: self._beat(process))
            return
        if self._broker.away:
            self._scheduler.after(process.heartbeat, self._beat, process)
            return
        sent = self._scheduler.clock.now
        if process in self._seen:
            self._seen[process] = sent
        known = process in self._seen
        self._scheduler.after(self._scheduler.chance.random() * SLOWEST_ANSWER, self._answer, process, sent, known)

    def _answer(self, process: Process, sent: float, known: bool) -> None:
        if process.dead:
            return
        if process.frozen:
            # It is read when the process goes on, and may be true no more.
            process.on_thaw.append(lambda: self._answer(process, sent, known))
            return
        if not known:
            process.dropped()
            return
        process.contact(sent)
        if self._preparing and process in self._seen and process not in self._joined:
            process.rebalance()
        self._scheduler.after(process.heartbeat, self._beat, process)
