"""Makes ``.venv`` from the locked requirements, whole or not at all. `make` runs it, with the Python to be in it.

A folder counts as whole when its marker, which is written last, is there. Without one it is made anew: an interrupted
installation leaves nothing that could be trusted. Only the standard library is there to be used.
"""

from __future__ import annotations

import argparse
import fcntl
import hashlib
import re
import shutil
import subprocess
import sys
import venv
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

ROOT = Path(__file__).resolve().parents[1]
VENV = ROOT / ".venv"
MARKER = VENV / ".installed"
SOURCES = (ROOT / "requirements-dev.lock", ROOT / "pyproject.toml")
VERSION = ".".join(map(str, sys.version_info[:3]))
INTERRUPTED = 130

_REACHED = re.compile(
    r"Max retries exceeded|connection (?:broken|error)|Connection\w*Error|Timeout|ProxyError", re.IGNORECASE
)
_REASONS = re.compile(
    r"(?:\[Errno -?\d+\] |Errno -?\d+: )?([A-Z][\w ]+(?:unreachable|resolution|not known|refused|timed out))"
)


class FailedError(Exception):
    """The folder could not be made; the text says why and what to do."""


def main() -> int:
    """Make ``.venv`` unless it is whole and of this state of the sources. Returns an exit code."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--this-python", action="store_true", help="also when there is a whole one with another Python")
    wanted = parser.parse_args()
    try:
        with _alone():
            _make_if_needed(this_python=wanted.this_python)
    except FailedError as error:
        print(f"make: {error}", file=sys.stderr)
        return 1
    except OSError as error:
        print(f"make: {_of_system(error)}", file=sys.stderr)
        return 1
    except KeyboardInterrupt:
        print("make: interrupted; .venv is made anew the next time", file=sys.stderr)
        return INTERRUPTED
    return 0


@contextmanager
def _alone() -> Iterator[None]:
    """Wait until no other `make` is here; macOS has no flock(1), but all have the call."""
    with Path(__file__).open("rb") as this:
        try:
            fcntl.flock(this, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            print("Waiting for another make, which is at .venv ...", flush=True)
            fcntl.flock(this, fcntl.LOCK_EX)
        except OSError:
            pass  # a network file system without locks: nothing but patience helps there
        yield


def _make_if_needed(*, this_python: bool) -> None:
    if VENV.is_symlink() or (VENV.exists() and not VENV.is_dir()):
        raise FailedError(
            f"{VENV} is not a folder: remove it. Each checkout has its own: the scripts in it name the place"
        )
    state = _state()
    whole = MARKER.is_file() and _is_here() and not (this_python and _version() != VERSION)
    if whole and MARKER.read_text() == state:
        with suppress(OSError):  # read-only, and fine as it is
            MARKER.touch()
        return
    MARKER.unlink(missing_ok=True)
    try:
        if not whole:
            print(f"Making .venv with Python {VERSION} ...", flush=True)
            _make_anew()
        print("Installing the locked requirements (the first time takes a minute) ...", flush=True)
        # Nothing is fetched that the lock has no hash for: the package itself is built with the locked setuptools.
        _pip("--require-hashes", "--requirement", str(SOURCES[0]))
        _pip("--no-deps", "--no-build-isolation", "--editable", str(ROOT))
        MARKER.write_text(state)
    except BaseException:
        if not whole:
            shutil.rmtree(VENV, ignore_errors=True)
        raise


def _state() -> str:
    """Return what the folder is made from: where it is (its scripts name that place) and what is to be in it."""
    return "".join(f"{line}\n" for line in (ROOT, *(hashlib.sha256(path.read_bytes()).hexdigest() for path in SOURCES)))


def _is_here() -> bool:
    """Whether it was made for this place; a marker of an older kind does not say."""
    place, *_ = [*MARKER.read_text().splitlines(), str(ROOT)]
    return place == str(ROOT)


def _version() -> str | None:
    found = re.search(r"^version = (\S+)$", (VENV / "pyvenv.cfg").read_text(), re.MULTILINE)
    return found[1] if found else None


def _make_anew() -> None:
    try:
        venv.EnvBuilder(clear=True, symlinks=True, with_pip=True).create(VENV)
    except ValueError as error:  # a colon in the path
        raise FailedError(f".venv cannot be made here: {error}") from error
    except subprocess.CalledProcessError as error:
        output = error.output or b""
        raise FailedError(explained(output.decode(errors="replace"), "pip could not be put into .venv")) from error


def _pip(*arguments: str) -> None:
    command = [str(VENV / "bin" / "python"), "-m", "pip", "install", "--quiet", "--disable-pip-version-check"]
    done = subprocess.run(  # noqa: S603 -- our own command
        [*command, *arguments],
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
        errors="replace",
        check=False,
    )
    if done.returncode:
        raise FailedError(explained(done.stdout, "pip could not install the locked requirements"))


def explained(output: str, what: str) -> str:
    """Return why pip failed and what to do, from what it printed; the end of that when nothing better is known."""
    if "No space left on device" in output:
        return f"{what}: the disk is full. It takes 1 GB, in {ROOT} and for a while in the temporary folder."
    if "CERTIFICATE_VERIFY_FAILED" in output or "certificate verify failed" in output:
        return (
            f"{what}: the certificate of the package index is not trusted. If a proxy here signs in its place, "
            "name the file with the proxy's certificate: export PIP_CERT=/path/to/ca.pem"
        )
    if "DO NOT MATCH THE HASHES" in output:
        return (
            f"{what}: what was fetched is not what the lock names, so it was not installed. "
            f"A mirror or proxy may have changed it.\n{_end(output)}"
        )
    if _REACHED.search(output):
        reasons = _REASONS.findall(output)
        return (
            f"{what}: the package index cannot be reached{f' ({reasons[-1]})' if reasons else ''}. Check the network; "
            "behind a proxy set HTTPS_PROXY, for a mirror PIP_INDEX_URL, for its certificate PIP_CERT; then try again."
        )
    return f"{what}. The end of what it said:\n{_end(output)}"


def _end(output: str) -> str:
    return "\n".join(f"  {line}" for line in output.rstrip().splitlines()[-12:])


def _of_system(error: OSError) -> str:
    return f"{error.filename or VENV}: {error.strerror}. The checkout must lie where you may write, with 1 GB free."


if __name__ == "__main__":
    sys.exit(main())
