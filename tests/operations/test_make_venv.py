"""``.venv`` appears whole or not at all, and what keeps it from being made is told in a sentence."""

from __future__ import annotations

import fcntl
import importlib.util
import re
import shutil
import signal
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from types import ModuleType

import pytest

ROOT = Path(__file__).resolve().parents[2]
SCRIPT = ROOT / "tools" / "make_venv.py"


@pytest.fixture
def checkout(tmp_path: Path) -> Path:
    """A checkout whose requirements cannot be had."""
    (tmp_path / "tools").mkdir()
    shutil.copy(SCRIPT, tmp_path / "tools")
    (tmp_path / "requirements-dev.lock").write_text(f"no-such-thing==1 --hash=sha256:{'0' * 64}\n")
    (tmp_path / "pyproject.toml").touch()
    return tmp_path


@pytest.fixture
def script(checkout: Path, monkeypatch: pytest.MonkeyPatch) -> ModuleType:
    """The script of the checkout; what it would do is in ``done``, and nothing of it takes time."""
    spec = importlib.util.spec_from_file_location("make_venv", checkout / "tools" / SCRIPT.name)
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    module.done = []  # type: ignore[attr-defined]

    def make_anew() -> None:
        shutil.rmtree(checkout / ".venv", ignore_errors=True)
        (checkout / ".venv").mkdir()
        (checkout / ".venv" / "pyvenv.cfg").write_text(f"version = {module.VERSION}\n")
        module.done.append("anew")

    module.real_pip = module._pip  # type: ignore[attr-defined]
    monkeypatch.setattr(module, "_make_anew", make_anew)
    monkeypatch.setattr(module, "_pip", lambda *_: module.done.append("pip"))
    monkeypatch.setattr(sys, "argv", ["make_venv"])
    return module


def run(checkout: Path, script: ModuleType) -> list[str]:
    script.done.clear()
    assert script.main() == 0
    assert (checkout / ".venv" / ".installed").is_file()
    return list(script.done)


def test_what_is_whole_is_left_alone(checkout: Path, script: ModuleType) -> None:
    assert run(checkout, script) == ["anew", "pip", "pip"]
    assert run(checkout, script) == []


def without_marker(checkout: Path, _: ModuleType) -> None:
    (checkout / ".venv" / ".installed").unlink()


def of_another_place(checkout: Path, _: ModuleType) -> None:
    marker = checkout / ".venv" / ".installed"
    marker.write_text(marker.read_text().replace(str(checkout), "/elsewhere"))


def of_another_python(checkout: Path, _: ModuleType) -> None:
    (checkout / ".venv" / "pyvenv.cfg").write_text("version = 3.2.1\n")
    sys.argv.append("--this-python")


@pytest.mark.parametrize("spoil", [without_marker, of_another_place, of_another_python])
def test_what_is_not_whole_or_for_something_else_is_made_anew(
    checkout: Path, script: ModuleType, spoil: Callable[[Path, ModuleType], None]
) -> None:
    run(checkout, script)
    spoil(checkout, script)
    assert run(checkout, script)[0] == "anew"


def test_another_python_is_left_alone_when_none_is_named(checkout: Path, script: ModuleType) -> None:
    run(checkout, script)
    (checkout / ".venv" / "pyvenv.cfg").write_text("version = 3.2.1\n")
    assert run(checkout, script) == []


def test_a_new_lock_is_installed_into_what_is_there(checkout: Path, script: ModuleType) -> None:
    run(checkout, script)
    (checkout / "requirements-dev.lock").write_text("")
    assert run(checkout, script) == ["pip", "pip"]


@pytest.mark.parametrize("error", [KeyboardInterrupt(), OSError(28, "No space left on device", "x")])
def test_what_is_cut_off_leaves_nothing(
    checkout: Path,
    script: ModuleType,
    error: BaseException,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    def cut_off(*_: str) -> None:
        raise error

    monkeypatch.setattr(script, "_pip", cut_off)
    assert script.main() != 0
    assert not (checkout / ".venv").exists()
    said = capsys.readouterr().err
    assert said in {
        "make: interrupted; .venv is made anew the next time\n",
        "make: x: No space left on device. The checkout must lie where you may write, with 1 GB free.\n",
    }


def test_an_update_that_is_cut_off_is_not_taken_for_whole(
    checkout: Path, script: ModuleType, monkeypatch: pytest.MonkeyPatch
) -> None:
    run(checkout, script)
    (checkout / "requirements-dev.lock").write_text("")
    with monkeypatch.context() as patched:
        patched.setattr(script, "_pip", lambda *_: (_ for _ in ()).throw(KeyboardInterrupt))
        assert script.main() == script.INTERRUPTED
    assert run(checkout, script)[0] == "anew"


def test_what_pip_really_says_becomes_the_error(
    checkout: Path, script: ModuleType, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("PIP_NO_INDEX", "1")
    monkeypatch.setenv("PIP_CONFIG_FILE", "/dev/null")
    monkeypatch.setattr(script, "VENV", Path(sys.prefix))
    with pytest.raises(
        script.FailedError, match=r"The end of what it said:\n(.|\n)*distribution found for no-such-thing"
    ):
        script.real_pip("--require-hashes", "--requirement", str(checkout / "requirements-dev.lock"))


@pytest.mark.parametrize("link", [True, False])
def test_something_else_in_its_place_is_told_and_left_alone(
    checkout: Path, script: ModuleType, capsys: pytest.CaptureFixture[str], link: bool
) -> None:
    theirs = checkout / "elsewhere"
    theirs.mkdir()
    (theirs / ".installed").touch()
    (checkout / ".venv").symlink_to(theirs) if link else (checkout / ".venv").touch()
    assert script.main() == 1
    assert capsys.readouterr().err.startswith(f"make: {checkout / '.venv'} is not a folder: remove it.")
    assert (theirs / ".installed").exists()


def test_two_at_once_take_turns(checkout: Path) -> None:
    with (checkout / "tools" / SCRIPT.name).open("rb") as other:
        fcntl.flock(other, fcntl.LOCK_EX)
        command = [sys.executable, str(checkout / "tools" / SCRIPT.name)]
        with subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True) as second:
            assert second.stdout is not None
            assert second.stdout.readline() == "Waiting for another make, which is at .venv ...\n"
            assert not (checkout / ".venv").exists()
            second.send_signal(signal.SIGINT)
            assert second.wait(30) == 130


PIP = "WARNING: Retrying (Retry(total=0)) after connection broken by "
RESOLVED = "'NameResolutionError: Failed to resolve: [Errno -3] Temporary failure in name resolution'"


@pytest.mark.parametrize(
    ("output", "told"),
    [
        (
            PIP + RESOLVED,
            r"cannot be reached \(Temporary failure in name resolution\)\. Check the network; .*PIP_INDEX_URL",
        ),
        (
            PIP + "'NewConnectionError: [Errno 101] Network is unreachable'",
            r"cannot be reached \(Network is unreachable\)",
        ),
        (PIP + "'ProxyError('Cannot connect to proxy.')'", r"cannot be reached\. .*HTTPS_PROXY"),
        (PIP + "'SSLError: [SSL: CERTIFICATE_VERIFY_FAILED] certificate verify failed'", r"certificate .*PIP_CERT="),
        ("ERROR: Could not install: [Errno 28] No space left on device", r"the disk is full"),
        ("ERROR: THESE PACKAGES DO NOT MATCH THE HASHES FROM\n  x==1", r"not what the lock names(.|\n)*  x==1"),
        ("ERROR: something new", r"The end of what it said:\n  ERROR: something new"),
    ],
)
def test_the_causes_that_somebody_new_meets_are_told_with_what_to_do(
    script: ModuleType, output: str, told: str
) -> None:
    assert re.search(told, script.explained(output, "pip failed")), told


@pytest.mark.parametrize(("version", "code"), [("Python 3.9.18", 0), ("Python 2.7.18", 1), ("some other program", 0)])
def test_a_named_python_that_does_not_do_is_told_by_its_version(tmp_path: Path, version: str, code: int) -> None:
    python = tmp_path / "python"
    python.write_text(
        f'#!/bin/sh\n[ "$1" = --version ] && echo "{version}"\n[ "$1" = -c ] && echo False\nexit {code}\n'
    )
    python.chmod(0o755)
    made = subprocess.run(
        ["make", "-C", ROOT, f"PYTHON={python}", "setup"], capture_output=True, text=True, check=False
    )
    assert made.returncode == 2
    assert f"make: {python} does not do ({version}): it takes Python 3.11 or newer" in made.stderr
