from __future__ import annotations

import hashlib

import pytest

from cj_stream.provider.prompts import comparison_prompt

TASK = "Skriv ett debattinlägg: bör mobiltelefoner samlas in?"


def test_the_prompt_names_both_essays_in_the_order_presented() -> None:
    prompt = comparison_prompt(text_a="first text", text_b="second text", task=TASK)
    assert "Essay A:\nfirst text" in prompt.text
    assert "Essay B:\nsecond text" in prompt.text
    assert prompt.text.index(TASK) < prompt.text.index("first text") < prompt.text.index("second text")


def test_the_blocks_together_are_the_prompt() -> None:
    prompt = comparison_prompt(text_a="first", text_b="second", task=TASK)
    assert "\n\n".join(block["content"] for block in prompt.blocks()) == prompt.text


def test_every_block_carries_the_hash_of_its_content() -> None:
    for block in comparison_prompt(text_a="å", text_b="ö", task=TASK).blocks():
        assert block["content_hash"] == hashlib.sha256(block["content"].encode()).hexdigest()
        assert block["target"] == "user_content"
        assert block["ttl"] == "5m"


def test_only_what_stays_the_same_over_a_batch_is_cacheable() -> None:
    one = comparison_prompt(text_a="first", text_b="second", task=TASK).blocks()
    other = comparison_prompt(text_a="third", text_b="fourth", task=TASK).blocks()
    assert [block["cacheable"] for block in one] == [True, False, False]
    assert one[0] == other[0]


def test_a_rubric_takes_the_place_of_the_default_criteria() -> None:
    plain = comparison_prompt(text_a="a", text_b="b").text
    own = comparison_prompt(text_a="a", text_b="b", rubric="Judge the spelling only.").text
    assert "Judge the spelling only." in own
    assert "how well each answers the task" in plain
    assert "how well each answers the task" not in own


@pytest.mark.parametrize("nothing", [None, "", "  \n"])
def test_without_task_and_rubric_the_question_is_still_asked(nothing: str | None) -> None:
    prompt = comparison_prompt(text_a="a", text_b="b", task=nothing, rubric=nothing)
    assert "Task given" not in prompt.text
    assert "Answer 'Essay A' or 'Essay B'" in prompt.text


def test_a_text_with_half_a_surrogate_pair_can_be_hashed() -> None:
    block = comparison_prompt(text_a="\ud83d", text_b="b").blocks()[1]
    assert len(block["content_hash"]) == 64
