from __future__ import annotations

import socket

import pytest

from cj_stream.engine.web_address import address_problems
from cj_stream.operations.settings import NAMES


def test_a_free_port_is_no_problem() -> None:
    assert not address_problems("127.0.0.1", 0, NAMES)


def test_a_port_that_something_listens_on_is_told_by_its_setting() -> None:
    with socket.create_server(("127.0.0.1", 0)) as server:
        port = server.getsockname()[1]
        assert address_problems("127.0.0.1", port, NAMES) == [
            f"something else listens on port {port} of 127.0.0.1: end it, or set CJ_WEB_PORT to a free one"
        ]


@pytest.mark.parametrize("host", ["192.0.2.1", "no-such-host.invalid", "a" * 70, "ü" * 70])
def test_an_address_that_is_not_of_this_machine_is_told_by_its_setting(host: str) -> None:
    assert f"CJ_WEB_HOST={host} is no address of this machine" in str(address_problems(host, 0, NAMES))
