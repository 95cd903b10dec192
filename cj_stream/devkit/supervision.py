"""The parts of a stack: each is watched, its end is told, and it is started again unless that would not help."""

from __future__ import annotations

import asyncio
import os
import subprocess
import time
from abc import ABC, abstractmethod
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path

from cj_stream.devkit import endings
from cj_stream.devkit.endings import FINAL_CODES
from cj_stream.devkit.jars import JarError
from cj_stream.devkit.kafka import LocalKafka, LocalKafkaError
from cj_stream.devkit.processes import die_with_parent

POLL_SECONDS = 0.1
FIRST_PAUSE, LONGEST_PAUSE = 0.5, 15.0
"""Seconds before a part that failed is started again; the pause doubles with every failure in a row."""
STEADY_SECONDS = 30.0
"""After a run of this length the pauses begin anew."""
QUICK_ENDS = 8
"""A part that ends this often in a row without such a run is given up."""
STARTING_PATIENCE = 3.0
"""Seconds that a broker which is still starting gets to end: it may not listen, and has nothing of anybody yet."""
LAST_BYTES = 64 * 1024
"""So much of a log is searched for the reason of an end."""

Say = Callable[[str], None]


class CannotStartError(Exception):
    """A part could not even be started; the text says why."""


class Part(ABC):
    """Something that runs, and is started again when it ends, but after one of ``FINAL_CODES`` or too often."""

    def __init__(self, name: str, log_path: Path, say: Say) -> None:
        self.name = name
        self.log_path = log_path
        self.failures = 0
        self.restarts = 0
        self.ending = ""
        """How it ended last, with the reason."""
        self.consequence = ""
        """What its end means for the user; said with each."""
        self._say = say
        self._code: int | None = None
        self._log_start = 0
        self._supervision: asyncio.Task[None] | None = None

    @property
    def has_ended(self) -> bool:
        """Return whether it ended for good, so that it is not started again."""
        return self._supervision is not None and self._supervision.done()

    async def start(self) -> None:
        """Start it, and watch over it from now on. Raises CannotStartError."""
        await self._begin_anew()
        self._supervision = asyncio.get_running_loop().create_task(self._supervise())

    async def stop(self, patience: float) -> None:
        """End it: in order within ``patience`` seconds, else by force."""
        if self._supervision is not None:
            self._supervision.cancel()
            await asyncio.wait([self._supervision])
        await self._end(patience)

    @abstractmethod
    async def _begin(self) -> None:
        """Start it; raises CannotStartError."""

    @abstractmethod
    def _is_running(self) -> bool:
        """Return whether it runs."""

    @abstractmethod
    def _exit_code(self) -> int | None:
        """Return how it ended, None if that cannot be known."""

    @abstractmethod
    def _reason(self, code: int | None, log: str) -> str | None:
        """Return why it ended, from what it has logged; None if that says nothing."""

    @abstractmethod
    async def _end(self, patience: float) -> None:
        """End it if it runs."""

    async def _supervise(self) -> None:
        quick, problem = 0, None
        while True:
            started = time.monotonic()
            await self._until_it_ends()
            quick = 1 if time.monotonic() - started > STEADY_SECONDS else quick + 1
            self._note_end(problem)
            if self._is_over(quick):
                return
            pause = min(FIRST_PAUSE * 2 ** (quick - 1), LONGEST_PAUSE)
            self._tell(f"next start in {pause:g} s", self.consequence)
            await asyncio.sleep(pause)
            problem = await self._start_again()

    async def _until_it_ends(self) -> None:
        while self._is_running():  # noqa: ASYNC110 -- nothing tells of the end of a process that is not a child
            await asyncio.sleep(POLL_SECONDS)

    async def _start_again(self) -> str | None:
        """Return what kept it from being started, None when it was."""
        try:
            await self._begin_anew()
        except CannotStartError as error:
            return str(error)
        self.restarts += 1
        return None

    async def _begin_anew(self) -> None:
        self._log_start = self.log_path.stat().st_size if self.log_path.exists() else 0
        await self._begin()

    def _note_end(self, problem: str | None) -> None:
        self._code = None if problem else self._exit_code()
        self.failures += self._code not in FINAL_CODES
        what = "could not be started" if problem else f"ended with {endings.named(self._code)}"
        why = problem or self._reason(self._code, self._log())
        self.ending = ": ".join(filter(None, (what, endings.full_disk(self.log_path.parent), why)))

    def _is_over(self, quick: int) -> bool:
        if self._code in FINAL_CODES:
            self._tell(f"it is not started again, {FINAL_CODES[self._code]}")
        elif quick >= QUICK_ENDS:
            self._tell(f"it is given up after {quick} ends in a row")
        else:
            return False
        return True

    def _tell(self, what: str, meaning: str = "") -> None:
        self._say("; ".join(filter(None, (f"{self.name} {self.ending}", what, meaning, f"its log is {self.log_path}"))))

    def _log(self) -> str:
        """Return the end of what was written to its log since its last start, nothing if that cannot be read."""
        try:
            with self.log_path.open("rb") as log:
                log.seek(max(self._log_start, self.log_path.stat().st_size - LAST_BYTES))
                return log.read().decode("utf-8", "replace")
        except OSError:
            return ""


class Supervised(Part):
    """A process of its own session, so that a Ctrl-C in the terminal reaches only us, and we end things in order."""

    def __init__(
        self,
        name: str,
        command: Sequence[str],
        *,
        environment: Mapping[str, str],
        log_path: Path,
        say: Say,
    ) -> None:
        super().__init__(name, log_path, say)
        self._command = list(command)
        self._environment = {**os.environ, **environment}
        self._process: subprocess.Popen[bytes] | None = None

    @property
    def pid(self) -> int | None:
        """Return the id of the running process, None while there is none."""
        return self._process.pid if self._process is not None and self._process.poll() is None else None

    async def _begin(self) -> None:
        try:
            self.log_path.parent.mkdir(parents=True, exist_ok=True)
            with self.log_path.open("ab") as output:
                self._process = subprocess.Popen(  # noqa: ASYNC220, S603 -- it does not wait; commands of our own
                    self._command,
                    stdin=subprocess.DEVNULL,
                    stdout=output,
                    stderr=subprocess.STDOUT,
                    env=self._environment,
                    start_new_session=True,
                    preexec_fn=die_with_parent,  # noqa: PLW1509 -- one system call that takes no lock
                )
        except OSError as error:
            raise CannotStartError(endings.of_system(error)) from error

    def _is_running(self) -> bool:
        return self.pid is not None

    def _exit_code(self) -> int | None:
        return None if self._process is None else self._process.poll()

    def _reason(self, code: int | None, log: str) -> str | None:
        return endings.reason(code, log)

    async def _end(self, patience: float) -> None:
        if self._process is None or self._process.poll() is not None:
            return
        self._process.terminate()
        deadline = time.monotonic() + patience
        while self._process.poll() is None:
            if time.monotonic() > deadline:
                self._say(f"{self.name} did not end within {patience:g} s and was killed")
                self._process.kill()
                self._process.wait()
            await asyncio.sleep(POLL_SECONDS)


class Broker(Part):
    """The local Kafka of a stack. Always started again on its data and at its port: that is where all others look."""

    def __init__(self, kafka: LocalKafka, port: int | None, say: Say) -> None:
        super().__init__("Kafka", kafka.log_path, say)
        self.consequence = "the workers wait for it and go on by themselves"
        self._kafka = kafka
        self._port = port
        self.bootstrap = ""
        """Where it answers, once it has been started."""

    async def _begin(self) -> None:
        starting = asyncio.create_task(asyncio.to_thread(self._kafka.start, self._port, self._say))
        try:
            self.bootstrap = await asyncio.shield(starting)
        except (JarError, LocalKafkaError) as error:
            raise CannotStartError(str(error)) from error
        except asyncio.CancelledError:
            # A thread cannot be cancelled, but this one gives up when its broker is gone.
            while not starting.done():
                await asyncio.to_thread(self._kafka.stop, STARTING_PATIENCE)
                await asyncio.wait([starting], timeout=POLL_SECONDS)
            starting.exception()  # that it could not start is no news then
            raise
        self._port = int(self.bootstrap.rpartition(":")[2])

    def _is_running(self) -> bool:
        return self._kafka.status().running

    def _exit_code(self) -> int | None:
        return self._kafka.exit_code

    def _reason(self, code: int | None, log: str) -> str | None:
        return endings.reason_of_kafka(code, log)

    async def _end(self, patience: float) -> None:
        try:
            await asyncio.to_thread(self._kafka.stop, patience)
        except LocalKafkaError as error:
            self._say(str(error))
