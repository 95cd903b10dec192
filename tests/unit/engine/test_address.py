from __future__ import annotations

import socket

import pytest

from cj_stream.engine import address
from cj_stream.engine.address import advertised_host, find_address_problems
from cj_stream.operations.settings import Settings

EVERYWHERE = "0.0.0.0"  # noqa: S104 (nothing is bound: the tests are about its name)
NAMES = {"localhost": ["127.0.0.1"], "container-1": ["172.18.0.5"], "laptop": ["127.0.1.1"], "kafka": ["192.0.2.1"]}


@pytest.fixture(autouse=True)
def _names(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(address, "_resolved", lambda host: NAMES.get(host, [host] if host[:1].isdigit() else []))


def called(monkeypatch: pytest.MonkeyPatch, name: str) -> None:
    monkeypatch.setattr(socket, "gethostname", lambda: name)


def test_by_default_it_is_where_the_views_are_bound() -> None:
    assert advertised_host(Settings()) == "127.0.0.1"
    assert advertised_host(Settings(web_host="192.0.2.7")) == "192.0.2.7"


@pytest.mark.parametrize("everywhere", [EVERYWHERE, "::"])
def test_bound_to_every_address_it_is_the_name_of_the_container(
    monkeypatch: pytest.MonkeyPatch, everywhere: str
) -> None:
    called(monkeypatch, "container-1")
    assert advertised_host(Settings(web_host=everywhere)) == "container-1"


def test_a_name_that_leads_back_here_only_is_replaced_by_the_address_on_the_way_to_kafka(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    called(monkeypatch, "laptop")
    assert advertised_host(Settings(web_host=EVERYWHERE, kafka_bootstrap="127.0.0.1:9092")) == "127.0.0.1"


def test_what_is_set_is_taken_and_an_ipv6_address_gets_its_brackets() -> None:
    assert advertised_host(Settings(web_host=EVERYWHERE, advertised_host="kafka")) == "kafka"
    assert advertised_host(Settings(advertised_host="2001:db8::1")) == "[2001:db8::1]"


@pytest.mark.parametrize("host", [EVERYWHERE, "::", "[::]", "no-such-host"])
def test_an_address_that_nobody_can_reach_is_refused_by_its_setting(host: str) -> None:
    (problem,) = find_address_problems(Settings(advertised_host=host))
    assert problem.startswith(f"CJ_ADVERTISED_HOST={host} ")


def test_an_address_that_can_be_reached_is_no_problem() -> None:
    assert find_address_problems(Settings(advertised_host="kafka")) == []
    assert find_address_problems(Settings()) == []


@pytest.mark.parametrize(("broker", "warned"), [("kafka:9092", True), ("localhost:9092", False)])
def test_views_that_only_this_machine_can_reach_are_warned_of_when_the_broker_is_elsewhere(
    monkeypatch: pytest.MonkeyPatch, broker: str, warned: bool
) -> None:
    said: list[str] = []
    monkeypatch.setattr(address.log, "warning", lambda text, **_: said.append(text))
    find_address_problems(Settings(kafka_bootstrap=broker))
    assert bool(said) is warned
