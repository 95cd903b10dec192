"""Running commands of ``cj-stream`` in the process of the test."""

from __future__ import annotations

import os
from collections.abc import Callable

from click.testing import CliRunner, Result

from cj_stream.cli.main import main

Run = Callable[..., Result]


def run_command(*arguments: str, **options: object) -> Result:
    """Run a command; ``options`` are those of click's runner, such as ``env`` and ``input``."""
    before = os.umask(0o022)  # the usual one; a command changes that of its process
    try:
        return CliRunner().invoke(main, [*arguments], **options)  # type: ignore[arg-type] # click's own keywords
    finally:
        os.umask(before)
