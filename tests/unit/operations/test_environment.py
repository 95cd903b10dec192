from __future__ import annotations

import math
import os

import pytest
from unit.operations.hostile_settings import HOSTILE

from cj_stream.operations.environment import BadSettingsError, read_settings, unknown_variables
from cj_stream.operations.settings import Settings


@pytest.fixture(autouse=True)
def _no_settings(monkeypatch: pytest.MonkeyPatch) -> None:
    for name in [name for name in os.environ if name.startswith("CJ_")]:
        monkeypatch.delenv(name)


@pytest.mark.parametrize("name", Settings.model_fields)
def test_a_hostile_value_is_refused_by_name_or_is_of_use(name: str, monkeypatch: pytest.MonkeyPatch) -> None:
    variable = f"CJ_{name.upper()}"
    refused = 0
    for what, value in HOSTILE.items():
        monkeypatch.setenv(variable, value)
        problems, found = _read(name)
        assert all(variable in problem for problem in problems), what
        assert not isinstance(found, float) or math.isfinite(found), what
        refused += bool(problems)
    assert refused >= 2, "hardly anything is refused"


def _read(name: str) -> tuple[list[str], object]:
    try:
        return [], getattr(read_settings(), name)
    except BadSettingsError as error:
        return list(error.problems), None


@pytest.mark.parametrize(
    ("name", "value"),
    [
        ("kafka_bootstrap", "a:9092, b:9093,[::1]:9094,c"),
        ("content_service_url", "file:var/dev/content"),
        ("content_service_url", "https://content.example/base"),
        ("llm_provider_service_url", "http://127.0.0.1:8090/api/v1"),
        ("web_host", "::"),
        ("web_host", "0.0.0.0"),  # noqa: S104 (only read)
        ("correlation_key", "k" * 64),
        ("stop_rules", "none"),
    ],
)
def test_what_people_use_is_taken(name: str, value: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv(f"CJ_{name.upper()}", value)
    assert getattr(read_settings(), name) is not None


@pytest.mark.parametrize("host", ["0", "0.5", "999.1.1.1", "a" * 64, "a." * 200, "a..b", "[host]", "::g", "a b", ""])
def test_no_machine_can_have_such_a_name(host: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("CJ_WEB_HOST", host)
    monkeypatch.setenv("CJ_KAFKA_BOOTSTRAP", f"{host}:9092")
    monkeypatch.setenv("CJ_CONTENT_SERVICE_URL", f"http://{host}")
    with pytest.raises(BadSettingsError) as caught:
        read_settings()
    assert len(caught.value.problems) == 3


def test_two_inputs_on_one_topic_are_refused(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("CJ_BATCH_EVENTS_TOPIC", "same")
    monkeypatch.setenv("CJ_LLM_PROVIDER_CALLBACK_TOPIC", "same")
    with pytest.raises(BadSettingsError, match="CJ_LLM_PROVIDER_CALLBACK_TOPIC and CJ_BATCH_EVENTS_TOPIC"):
        read_settings()


def test_outcomes_may_share_a_topic(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("CJ_ASSESSMENT_COMPLETED_TOPIC", "outcomes")
    monkeypatch.setenv("CJ_ASSESSMENT_FAILED_TOPIC", "outcomes")
    assert read_settings().assessment_failed_topic == "outcomes"


def test_a_secret_that_is_refused_is_not_told(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("CJ_CORRELATION_KEY", "secret" * 11)
    with pytest.raises(BadSettingsError) as caught:
        read_settings()
    assert "secretsecret" not in str(caught.value)


def test_variables_that_nobody_reads_are_told_with_the_nearest_name(monkeypatch: pytest.MonkeyPatch) -> None:
    for name in ("CJ_PARTITION", "CJ_WEB_URL", "cj_web_port", "CJ_ZZZZZZ"):
        monkeypatch.setenv(name, "1")
    assert unknown_variables() == [
        "CJ_PARTITION is no setting and changes nothing: did you mean CJ_PARTITIONS?",
        "CJ_ZZZZZZ is no setting and changes nothing: cj-stream settings lists them.",
    ]


@pytest.mark.parametrize("name", ["llm_provider_service_url", "content_service_url"])
def test_an_address_with_a_password_is_refused_and_not_repeated(name: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv(f"CJ_{name.upper()}", "https://somebody:s3cret@host/path")
    with pytest.raises(BadSettingsError, match="no name or password") as refused:
        read_settings()
    assert "s3cret" not in str(refused.value)
