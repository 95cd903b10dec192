from __future__ import annotations

import pytest
from pydantic import SecretStr

from cj_stream.domain.states import BatchState
from cj_stream.engine.web_answers import ApiError
from cj_stream.views.parameters import check_token, integer, member, reason_of, run_number

TOKEN = SecretStr("a secret of å few words")


def test_a_parameter_left_out_has_its_default() -> None:
    assert integer({}, "limit", 100, least=1, most=1000) == 100
    assert run_number({}) is None
    assert member({}, "state", {}) is None


@pytest.mark.parametrize("text", ["0", "1001", "-1", "+5", " 5", "5_0", "1.5", "", "five", "٣", "9" * 5000])
def test_anything_but_a_whole_number_within_the_bounds_is_refused(text: str) -> None:
    with pytest.raises(ApiError, match="limit must be a whole number from 1 to 1000") as refused:
        integer({"limit": text}, "limit", 100, least=1, most=1000)
    assert refused.value.status == 400


def test_run_0_is_no_run() -> None:
    assert [run_number({"run": text}) for text in ("1", "3")] == [1, 3]
    with pytest.raises(ApiError):
        run_number({"run": "0"})


def test_an_unknown_state_is_refused_with_the_known_ones() -> None:
    states = {state.value: state for state in BatchState}
    assert member({"state": "SCORING"}, "state", states) is BatchState.SCORING
    with pytest.raises(ApiError, match="INITIALIZING, GENERATING_PAIRS"):
        member({"state": "scoring"}, "state", states)


@pytest.mark.parametrize("token", [None, SecretStr("")])
def test_without_a_token_commands_are_off_whatever_is_sent(token: SecretStr | None) -> None:
    with pytest.raises(ApiError, match="CJ_OPERATOR_TOKEN") as refused:
        check_token(token, "Bearer ")
    assert refused.value.status == 403


SECRET = TOKEN.get_secret_value()
NEARLY = {
    *(SECRET[:length] for length in range(len(SECRET))),
    *(SECRET[start:] for start in range(1, len(SECRET))),
    *(f"{SECRET[:at]}x{SECRET[at + 1 :]}" for at in range(len(SECRET))),
    *(f"{SECRET}{more}" for more in ("x", "\0", ".", SECRET, f" {SECRET}", f", {SECRET}")),
    *(f"{before}{SECRET}" for before in ("x", "\0", '"', f"{SECRET} ")),
    *(SECRET.upper(), SECRET.title(), SECRET[::-1], SECRET.replace("å", "a"), SECRET.replace(" ", "")),
    *("".join(sorted(SECRET)), "\udcff", "é", "None", repr(TOKEN), str(TOKEN)),
}
"""What somebody sends who knows a part of the token, or all of it and more."""


@pytest.mark.parametrize("sent", ["", "Bearer", f"Basic {SECRET}", SECRET, f"Bearer{SECRET}", f"Token Bearer {SECRET}"])
def test_a_missing_token_or_another_scheme_is_refused(sent: str) -> None:
    check_refused(sent)


def test_nothing_but_the_very_token_is_accepted() -> None:
    for given in NEARLY:
        check_refused(f"Bearer {given}")


def check_refused(sent: str) -> None:
    with pytest.raises(ApiError) as refused:
        check_token(TOKEN, sent)
    assert refused.value.status == 401
    assert refused.value.headers == {"WWW-Authenticate": "Bearer"}


def test_the_right_token_passes_whatever_the_case_of_the_scheme() -> None:
    check_token(TOKEN, "Bearer a secret of å few words")
    check_token(TOKEN, "bearer a secret of å few words")


def test_a_reason_may_be_left_out() -> None:
    assert reason_of(b"") == reason_of(b" \n") == reason_of(b"{}") == reason_of(b'{"reason": null}') == ""
    assert reason_of('{"reason": "för sent"}'.encode()) == "för sent"


@pytest.mark.parametrize("body", [b"reason", b"[]", b'{"reason": 5}', b'{"why": "x"}', b'{"reason": "\xff"}', b"\xff"])
def test_a_body_of_another_shape_is_refused(body: bytes) -> None:
    with pytest.raises(ApiError, match="The body must be empty or like") as refused:
        reason_of(body)
    assert refused.value.status == 400


def test_a_reason_of_more_than_1000_characters_is_refused() -> None:
    assert len(reason_of(b'{"reason": "' + b"x" * 1000 + b'"}')) == 1000
    with pytest.raises(ApiError, match="1001 characters"):
        reason_of(b'{"reason": "' + b"x" * 1001 + b'"}')
