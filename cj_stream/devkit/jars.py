"""The jars of Apache Kafka: fetched once from Maven Central, checked against ``kafka-jars.sha256`` at every start."""

from __future__ import annotations

import hashlib
import os
import tempfile
from collections.abc import Callable, Iterable
from concurrent.futures import ThreadPoolExecutor, as_completed
from dataclasses import dataclass
from pathlib import Path

from cj_stream.devkit.endings import of_system

KAFKA_VERSION = "4.1.1"
LOCK_FILE = Path(__file__).with_name("kafka-jars.sha256")
INSTALL_DEV = "install the extra dev (pip install 'cj-stream[dev]')"
OWN_BROKER = "set CJ_KAFKA_BOOTSTRAP to use a broker of your own instead"
_PARALLEL_DOWNLOADS = 6

Report = Callable[[str], None]
"""Told in a few words what is going on, for whoever watches."""


class JarError(Exception):
    """Kafka's jars cannot be had, or one is not what it should be; the text says which and what to do."""


@dataclass(frozen=True)
class Jar:
    """One jar: its Maven coordinates and what its content must hash to."""

    group: str
    artifact: str
    version: str
    sha256: str

    @property
    def file_name(self) -> str:
        """Name of the file in the cache folder."""
        return f"{self.artifact}-{self.version}.jar"


def locked_jars(lock_file: Path = LOCK_FILE) -> tuple[Jar, ...]:
    """Return the jars of a lock file, whose lines are ``sha256  group:artifact:version`` or ``# comment``."""
    lines = [line.split() for line in lock_file.read_text().splitlines() if line and not line.startswith("#")]
    return tuple(_jar(sha256, *coordinates.split(":")) for sha256, coordinates in lines)


def _jar(sha256: str, group: str, artifact: str, version: str) -> Jar:
    return Jar(group, artifact, version, sha256)


def cache_folder() -> Path:
    """Return the folder that keeps the jars between runs: the user's cache folder, by Kafka's version."""
    base = os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache"
    return Path(base) / "cj-stream" / f"kafka-{KAFKA_VERSION}"


def ensure_jars(report: Report, folder: Path | None = None, jars: tuple[Jar, ...] | None = None) -> Path:
    """Return the folder with every jar in it, after fetching the absent ones; the network is not touched otherwise.

    Raises:
        JarError: a jar could not be fetched, is damaged, or does not belong there.

    """
    folder = cache_folder() if folder is None else folder
    jars = locked_jars() if jars is None else jars
    absent = [jar for jar in jars if not (folder / jar.file_name).exists()]
    try:
        if absent:
            folder.mkdir(parents=True, exist_ok=True)
            _fetch(absent, folder, report)
        problems = jar_problems(folder, jars)
    except OSError as error:
        raise JarError(
            f"{of_system(error)}: the jars of Kafka are kept in {folder}, XDG_CACHE_HOME names another place"
        ) from error
    if problems:
        raise JarError("; ".join(problems))
    return folder


def jar_problems(folder: Path, jars: Iterable[Jar]) -> list[str]:
    """Return a sentence for each jar of ``folder`` that is missing, damaged or not on the list ``jars``."""
    expected = {jar.file_name: jar for jar in jars}
    present = {path.name for path in folder.glob("*.jar")}
    missing = [f"{folder / name} is missing: start again to fetch it" for name in sorted(expected.keys() - present)]
    extra = [
        f"{folder / name} is not one of the jars of Kafka {KAFKA_VERSION}: remove it"
        for name in sorted(present - expected.keys())
    ]
    damaged = [
        f"{folder / name} is damaged (its sha256 should be {expected[name].sha256}): delete it and start again"
        for name in sorted(expected.keys() & present)
        if sha256_of(folder / name) != expected[name].sha256
    ]
    return missing + extra + damaged


def sha256_of(path: Path) -> str:
    """Return the sha256 of a file, in hexadecimal."""
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


def _fetch(absent: list[Jar], folder: Path, report: Report) -> None:
    # The jars arrive in a scratch folder and move when they are whole and right: a start that is interrupted leaves no
    # half a jar behind, and two starts at once do not disturb each other.
    with tempfile.TemporaryDirectory(dir=folder, prefix=".fetching-") as scratch:
        download = _downloader(Path(scratch))
        pool = ThreadPoolExecutor(_PARALLEL_DOWNLOADS)
        try:
            downloads = {pool.submit(download, jar): jar for jar in absent}
            for count, done in enumerate(as_completed(downloads), start=1):
                _keep(done.result(), downloads[done], folder)
                report(f"fetched {count} of {len(absent)} jars of Kafka {KAFKA_VERSION}")
        finally:
            pool.shutdown(cancel_futures=True)


def _downloader(scratch: Path) -> Callable[[Jar], Path]:
    try:
        from jgo.config import GlobalSettings  # noqa: PLC0415 - in the extra "dev", and slow: only for downloads
        from jgo.constants import MAVEN_CENTRAL_URL  # noqa: PLC0415 - the same
        from jgo.maven import MavenContext  # noqa: PLC0415 - the same
    except ImportError as error:
        raise JarError(f"{error}: {INSTALL_DEV}, or {OWN_BROKER}") from error
    # A mirror in the user's own jgo.conf is honoured; one named "central" replaces Maven Central.
    repositories = {"central": MAVEN_CENTRAL_URL, **GlobalSettings.load().repositories}
    maven = MavenContext(repo_cache=scratch, remote_repos=repositories)

    def download(jar: Jar) -> Path:
        try:
            path: Path = maven.project(jar.group, jar.artifact).at_version(jar.version).artifact().resolve()
        except (OSError, RuntimeError) as error:  # requests' errors are OSErrors; jgo raises RuntimeError
            raise JarError(
                f"{jar.file_name} of Kafka {KAFKA_VERSION} could not be fetched from Maven Central ({error}): "
                f"check the network, the proxy and REQUESTS_CA_BUNDLE, or {OWN_BROKER}"
            ) from error
        return path

    return download


def _keep(path: Path, jar: Jar, folder: Path) -> None:
    found = sha256_of(path)
    if found != jar.sha256:
        raise JarError(
            f"{jar.file_name} came from Maven Central with sha256 {found} instead of {jar.sha256} and was thrown away: "
            f"try again, and if it stays so, see what a proxy or mirror does to it, or {OWN_BROKER}"
        )
    path.replace(folder / jar.file_name)
