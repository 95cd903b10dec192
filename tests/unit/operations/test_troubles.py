from __future__ import annotations

import socket
import ssl
from typing import Any

import aiohttp
import pytest

from cj_stream.engine.foreign_answers import RedirectedError
from cj_stream.operations.troubles import PATIENCE_SECONDS, SOMEBODY_HAS_TO, LastTrouble, Trouble, remedy_for, remedy_of

KEY: Any = aiohttp.client_reqrep.ConnectionKey("host", 443, True, True, None, None, None, None)


@pytest.mark.parametrize(
    ("error", "told"),
    [
        (ConnectionRefusedError(111, "refused"), None),
        (TimeoutError(), None),
        (aiohttp.ServerDisconnectedError(), None),
        (aiohttp.ClientConnectorError(KEY, OSError(111, "refused")), None),
        (aiohttp.ClientConnectorCertificateError(KEY, ssl.SSLCertVerificationError("self-signed")), "the certificate"),
        (aiohttp.ClientConnectorSSLError(KEY, ssl.SSLError("wrong version number")), "the certificate"),
        (aiohttp.ClientConnectorDNSError(KEY, socket.gaierror(-2, "unknown")), "cannot be resolved"),
        (aiohttp.InvalidURL("http:///"), "own address"),
        (RedirectedError("to elsewhere"), "own address"),
    ],
)
def test_what_passes_by_itself_is_told_from_what_somebody_has_to_change(error: Exception, told: str | None) -> None:
    remedy = remedy_of(error, "CJ_THE_URL")
    if told is None:
        assert remedy is None
    else:
        assert told in str(remedy)
        assert "CJ_THE_URL" in str(remedy)


@pytest.mark.parametrize("status", [401, 403, 404, 405, 407, 410])
def test_an_answer_that_will_not_change_by_itself_names_the_setting(status: int) -> None:
    assert "CJ_THE_URL" in str(remedy_for(status, "CJ_THE_URL"))


@pytest.mark.parametrize("status", [200, 400, 408, 429, 500, 502, 503, 504])
def test_an_answer_that_may_change_has_no_remedy(status: int) -> None:
    assert remedy_for(status, "CJ_THE_URL") is None


class Clock:
    now = 1000.0

    def __call__(self) -> float:
        return self.now


def test_a_trouble_keeps_its_beginning_and_is_told_once_it_lasts_or_needs_somebody() -> None:
    clock, heard = Clock(), list[Trouble | None]()
    last = LastTrouble(clock, heard.append)
    last.note("refused", None)
    assert heard == []
    clock.now += PATIENCE_SECONDS
    last.note("refused again", None)
    last.note("refused once more", None)
    last.note("a bad certificate", "mend it")
    assert str(last.current) == f"a bad certificate (since 1970-01-01T00:16:40Z). {SOMEBODY_HAS_TO}: mend it"
    last.over()
    last.over()
    assert [trouble and trouble.what for trouble in heard] == ["refused again", "a bad certificate", None]


def test_failures_among_successes_are_no_news() -> None:
    clock, heard = Clock(), list[Trouble | None]()
    last = LastTrouble(clock, heard.append)
    for _ in range(100):
        last.note("refused", None)
        clock.now += PATIENCE_SECONDS / 2
        last.over()
    assert heard == []
