from __future__ import annotations

from cj_stream.provider.echoes import LEFT_OUT, SHORTEST, without_echo

PROMPT = "Compare.\n\nEssay A:\nNär jag var liten bodde vi vid havet.\nVi badade varje dag.\n\nEssay B:\nAnother text."


def test_what_a_provider_quotes_of_the_prompt_is_left_out() -> None:
    message = f"cannot take {PROMPT[20:60]!s}, sorry"
    assert without_echo(message, PROMPT) == f"cannot take {LEFT_OUT}, sorry"


def test_line_ends_that_became_blanks_hide_nothing() -> None:
    assert without_echo("bad: " + " ".join(PROMPT.split()), PROMPT) == f"bad: {LEFT_OUT}"


def test_what_it_says_of_its_own_stays_as_it_is() -> None:
    message = "model  gpt-5 does not take\ntemperature"
    assert without_echo(message, PROMPT) == message


def test_a_few_letters_in_common_are_no_quotation() -> None:
    assert without_echo("Another text", PROMPT) == "Another text"
    assert len("Another text") < SHORTEST


def test_every_passage_is_left_out_also_of_several() -> None:
    message = "first: bodde vi vid havet. Vi; then: Vi badade varje dag. Essay; end"
    assert without_echo(message, PROMPT) == f"first:{LEFT_OUT}; then:{LEFT_OUT}; end"
