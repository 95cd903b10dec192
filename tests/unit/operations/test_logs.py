from __future__ import annotations

import logging
import subprocess
import sys

import pytest
from aiohttp.http_exceptions import LineTooLong

from cj_stream.operations.logs import WithoutTracebacks


def record(error: Exception) -> logging.LogRecord:
    """Return what aiohttp logs of a request that failed."""
    text = "Error handling request from %s"
    return logging.LogRecord(
        "aiohttp.server", logging.ERROR, __file__, 1, text, ("192.0.2.1",), (type(error), error, None)
    )


def test_a_request_that_is_no_http_is_a_line_and_no_traceback() -> None:
    found = record(LineTooLong(b"/" + b"a" * 9000, 8190))
    assert WithoutTracebacks().filter(found)
    assert (found.levelname, found.exc_info) == ("WARNING", None)
    assert found.getMessage().startswith("Error handling request from 192.0.2.1: 400, message")
    assert len(found.getMessage()) < 300


@pytest.mark.parametrize("error", [RuntimeError("a bug"), OSError("x")])
def test_everything_else_keeps_its_traceback(error: Exception) -> None:
    found = record(error)
    assert WithoutTracebacks().filter(found)
    assert (found.levelname, found.exc_info) == ("ERROR", (type(error), error, None))


@pytest.mark.parametrize("name", ["openai._base_client", "anthropic._base_client", "httpx2", "httpcore2.http11"])
def test_the_clients_of_models_never_tell_what_they_send_at_no_level(name: str) -> None:
    code = (
        "import logging; from cj_stream.operations.logs import configure_logs; configure_logs('json', 'DEBUG');"
        f"print(logging.getLogger({name!r}).isEnabledFor(logging.INFO))"
    )
    found = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert found.stdout.strip() == "False"
