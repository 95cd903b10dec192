"""The file by which the other commands find what ``cj-stream dev`` runs, and which a shell can ``source``."""

from __future__ import annotations

import fcntl
import os
import shlex
from collections.abc import Mapping
from pathlib import Path

STACK_FILE = Path("var/dev/stack.env")
"""Written by ``cj-stream dev``: how to reach what it runs, as variables. The environment wins over it."""
LOCK_NAME = "lock"
"""The file beside it that is locked while the stack runs."""


def write_stack_file(path: Path, variables: Mapping[str, str]) -> None:
    """Write ``variables``, each value quoted for the shell. It holds a token, so it is the user's own."""
    new = path.with_name(f"{path.name}.new")
    new.unlink(missing_ok=True)
    new.touch(mode=0o600)
    new.write_text("".join(f"{name}={shlex.quote(value)}\n" for name, value in variables.items()), encoding="utf-8")
    new.replace(path)  # who reads meanwhile finds all of it or nothing


def stack_runs(path: Path = STACK_FILE) -> bool:
    """Return whether the ``cj-stream dev`` that wrote the file runs: one that was killed leaves it behind."""
    try:
        with path.with_name(LOCK_NAME).open("rb") as lock:
            fcntl.flock(lock, fcntl.LOCK_SH | fcntl.LOCK_NB)
    except (FileNotFoundError, NotADirectoryError):
        return False
    except OSError:  # it is locked, or belongs to somebody else
        return path.exists()
    return False


def stack_variables(path: Path = STACK_FILE) -> dict[str, str]:
    """Return the variables of a running ``cj-stream dev`` that the environment does not have; none without one.

    Raises ValueError when the file cannot be read, saying why.
    """
    try:
        words = shlex.split(path.read_text(encoding="utf-8"))
    except (FileNotFoundError, NotADirectoryError):
        return {}
    except OSError as error:
        raise ValueError(f"{path}: {error.strerror}: it belongs to who runs cj-stream dev here") from error
    except ValueError as error:
        raise ValueError(
            f"{path} is not what cj-stream dev writes ({error}): remove it, and start dev again"
        ) from error
    known = {name.upper() for name in os.environ}
    pairs = (word.partition("=") for word in words)
    return {name: value for name, _, value in pairs if name.upper() not in known}
