from __future__ import annotations

import hashlib
import threading
from collections.abc import Iterator
from functools import partial
from http.server import SimpleHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path

import pytest

from cj_stream.devkit.jars import Jar, JarError, cache_folder, ensure_jars, jar_problems, locked_jars

CONTENT = {"alpha": b"the jar alpha", "beta": b"the jar beta"}
JARS = tuple(Jar("org.example", name, "1.0", hashlib.sha256(data).hexdigest()) for name, data in CONTENT.items())


class _QuietHandler(SimpleHTTPRequestHandler):
    def log_message(self, format: str, *args: object) -> None:  # noqa: A002 - the name that http.server gives it
        """Keep the test's output to the test."""


@pytest.fixture
def mirror(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Path]:
    """Serve a Maven repository from this machine, named in the user's jgo.conf; gives its folder."""
    root = tmp_path / "mirror"
    for name, data in CONTENT.items():
        path = root / "org" / "example" / name / "1.0" / f"{name}-1.0.jar"
        path.parent.mkdir(parents=True)
        path.write_bytes(data)
    server = ThreadingHTTPServer(("127.0.0.1", 0), partial(_QuietHandler, directory=str(root)))
    thread = threading.Thread(target=server.serve_forever)
    thread.start()
    config = tmp_path / "jgo.conf"
    config.write_text(f"[repositories]\ncentral = http://127.0.0.1:{server.server_port}\n")
    monkeypatch.setenv("JGO_CONFIG_FILE", str(config))
    monkeypatch.setenv("NO_PROXY", "127.0.0.1")
    yield root
    server.shutdown()
    thread.join()
    server.server_close()


@pytest.fixture
def no_network(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    """Let every connection to a repository fail: the proxy is a port that nobody listens on."""
    for name in ("HTTP_PROXY", "HTTPS_PROXY", "http_proxy", "https_proxy"):
        monkeypatch.setenv(name, "http://127.0.0.1:9")
    monkeypatch.delenv("NO_PROXY", raising=False)
    monkeypatch.delenv("no_proxy", raising=False)
    monkeypatch.setenv("JGO_CONFIG_FILE", str(tmp_path / "no-such.conf"))


def _filled(folder: Path) -> Path:
    folder.mkdir()
    for jar in JARS:
        (folder / jar.file_name).write_bytes(CONTENT[jar.artifact])
    return folder


def test_jars_that_are_all_there_and_right_are_no_problem(tmp_path: Path) -> None:
    assert jar_problems(_filled(tmp_path / "jars"), JARS) == []


def test_a_damaged_jar_is_named_with_what_to_do(tmp_path: Path) -> None:
    folder = _filled(tmp_path / "jars")
    (folder / "beta-1.0.jar").write_bytes(b"the jar bet")
    (problem,) = jar_problems(folder, JARS)
    assert "beta-1.0.jar is damaged" in problem
    assert "delete it and start again" in problem


def test_a_missing_jar_is_named(tmp_path: Path) -> None:
    folder = _filled(tmp_path / "jars")
    (folder / "alpha-1.0.jar").unlink()
    (problem,) = jar_problems(folder, JARS)
    assert "alpha-1.0.jar is missing" in problem


def test_a_jar_that_does_not_belong_there_is_named(tmp_path: Path) -> None:
    folder = _filled(tmp_path / "jars")
    (folder / "intruder.jar").write_bytes(b"?")
    (problem,) = jar_problems(folder, JARS)
    assert "intruder.jar is not one of the jars" in problem


def test_a_start_with_a_damaged_jar_says_so(tmp_path: Path) -> None:
    folder = _filled(tmp_path / "jars")
    (folder / "beta-1.0.jar").write_bytes(b"")
    with pytest.raises(JarError, match=r"beta-1\.0\.jar is damaged"):
        ensure_jars(pytest.fail, folder, JARS)


@pytest.mark.usefixtures("no_network")
def test_a_cache_that_cannot_be_is_told_with_what_to_do(tmp_path: Path) -> None:
    (tmp_path / "file").touch()
    with pytest.raises(JarError, match=r"file/sub: Not a directory: .* XDG_CACHE_HOME names another place"):
        ensure_jars(print, tmp_path / "file" / "sub", (Jar("g", "a", "1", "0" * 64),))


def test_the_network_is_not_asked_when_every_jar_is_there(tmp_path: Path) -> None:
    folder = _filled(tmp_path / "jars")
    assert ensure_jars(pytest.fail, folder, JARS) == folder


@pytest.mark.usefixtures("no_network")
def test_an_impossible_download_tells_what_failed_and_what_can_be_done(tmp_path: Path) -> None:
    with pytest.raises(JarError) as caught:
        ensure_jars(lambda _: None, tmp_path / "jars", JARS)
    message = str(caught.value)
    assert "could not be fetched from Maven Central" in message
    assert "CJ_KAFKA_BOOTSTRAP" in message
    assert list((tmp_path / "jars").iterdir()) == []


@pytest.mark.usefixtures("mirror")
def test_absent_jars_are_fetched_and_the_user_hears_of_it(tmp_path: Path) -> None:
    reports: list[str] = []
    folder = ensure_jars(reports.append, tmp_path / "jars", JARS)
    assert {path.name: path.read_bytes() for path in folder.iterdir()} == {
        "alpha-1.0.jar": CONTENT["alpha"],
        "beta-1.0.jar": CONTENT["beta"],
    }
    assert [report.split(" jars")[0] for report in reports] == ["fetched 1 of 2", "fetched 2 of 2"]


def test_a_jar_that_arrives_with_other_content_is_thrown_away(mirror: Path, tmp_path: Path) -> None:
    (mirror / "org/example/beta/1.0/beta-1.0.jar").write_bytes(b"something else")
    with pytest.raises(JarError, match=r"beta-1\.0\.jar came from Maven Central with sha256"):
        ensure_jars(lambda _: None, tmp_path / "jars", JARS)
    assert not (tmp_path / "jars" / "beta-1.0.jar").exists()


def test_a_jar_that_the_repository_does_not_have_is_named(mirror: Path, tmp_path: Path) -> None:
    (mirror / "org/example/beta/1.0/beta-1.0.jar").unlink()
    with pytest.raises(JarError, match=r"beta-1\.0\.jar .* could not be fetched"):
        ensure_jars(lambda _: None, tmp_path / "jars", JARS)


def test_the_lock_names_kafka_and_a_full_hash_for_every_jar() -> None:
    jars = locked_jars()
    assert any(jar.artifact == "kafka_2.13" for jar in jars)
    assert all(len(bytes.fromhex(jar.sha256)) == 32 for jar in jars)
    assert len({jar.file_name for jar in jars}) == len(jars)


def test_the_cache_follows_the_users_choice(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path))
    assert cache_folder().is_relative_to(tmp_path / "cj-stream")
