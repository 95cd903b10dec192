from __future__ import annotations

from typing import Any

import msgspec
import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from cj_stream.domain.policy import Judging, Policy
from cj_stream.domain.records import (
    Comparison,
    ComparisonStatus,
    Content,
    Context,
    Control,
    Essay,
    Origin,
    Overrides,
    Plan,
    Receipt,
    RefusedRequest,
    Roster,
    Row,
    Scores,
    Unpublishable,
)
from cj_stream.domain.states import BatchState, FailureReason
from cj_stream.engine.rows import (
    HEARTBEAT_KEY,
    NewerRowError,
    encode_heartbeat,
    heartbeat_base,
    row_position,
)
from cj_stream.scoring.quality.stopping import StopReason
from cj_stream.tables.codec import (
    KINDS,
    VERSION,
    decode_row,
    encode_row,
    prefix,
    read_key,
    row_key,
)

POSITION = 1_234_567

# A row of each kind as version 1 writes it. These bytes lie in tables: they must be readable for ever.
GOLDEN: list[tuple[Row, str, str]] = [
    (
        Roster(
            batch_id="batch-å",
            run=2,
            correlation_id="11111111-1111-4111-8111-111111111111",
            digest="d1",
            essays=(Essay(id="e1", storage_id="s1"), Essay(id="e2", storage_id="s2")),
            context=Context(
                language="sv",
                course_code="ENG5",
                prompt_storage_id="p",
                instructions="compare",
                overrides=Overrides(
                    provider="openai",
                    model="m",
                    temperature=0.1,
                    max_tokens=500,
                    system_prompt="sys",
                    judge_rubric="rub",
                    reasoning_effort="low",
                    output_verbosity="short",
                ),
                assignment_id="a",
                user_id="u",
                org_id="o",
                traceparent="tp",
            ),
            policy=Policy(
                judging=Judging(max_cost=2.5, priority=-3, batching_mode="serial_bundle", reuse_judgements="b0")
            ),
            seed=2**62 + 1,
        ),
        "7262617463682dc3a5000000000200000000",
        (
            "01000000000012d68798a862617463682dc3a502d92431313131313131312d313131312d343131312d383131312d31313131313131"
            "3131313131a264319292a26531a2733192a26532a2733299a27376a4454e4735a170a7636f6d7061726598a66f70656e6169a16dcb"
            "3fb999999999999acd01f4a3737973a3727562a36c6f77a573686f7274a161a175a16fa27470dc0012cb40cc200000000000cb4105"
            "180000000000cb40ac2000000000000314cb3fe999999999999a0acb40540000000000005fcb3fa999999999999acb3feccccccccc"
            "cccd050401cd4e2064cb41227500000000009aa86164617074697665c00193ab72656c696162696c697479a973746162696c697479"
            "a96465636973696f6e73cb3feccccccccccccd90cb4004000000000000fdad73657269616c5f62756e646c65a26230cf4000000000"
            "000001"
        ),
    ),
    (
        Content(usable=(0, 2), unusable={1: "blank"}, texts=(b"a", b"", b"c"), question_sha256="ab", question="{}"),
        "7462617463682dc3a5000000000200000000",
        ("01000000000012d687959200028101a5626c616e6b93c40161c400c40163a26162a27b7d"),
    ),
    (
        Plan(iteration=3, first_index=48, pairs=((0, 2), (2, 1))),
        "7062617463682dc3a5000000000200000003",
        "01000000000012d68793033092920002920201",
    ),
    (
        Comparison(
            index=300,
            status=ComparisonStatus.JUDGED,
            attempt=2,
            submitted_at=1700000000.5,
            completed_at=1700000060.25,
            winner="B",
            confidence=4.5,
            justification="clearer",
            provider="openai",
            model="m",
            error_code="E",
            error_message="why",
            answered=True,
            expected_wait=7200.0,
            receipt=Receipt(
                input_tokens=1700,
                output_tokens=250,
                cost=0.0125,
                raw_llm_response="{}",
                flags=("instruction_in_first",),
                error_service="llm",
                error_timestamp="2026-01-31T00:00:00Z",
                error_correlation_id="c9",
                error_details="{}",
                earlier_cost=0.5,
                earlier_tokens=(1, 2),
                reused=True,
            ),
        ),
        "6d62617463682dc3a500000000020000012c",
        (
            "01000000000012d6879fcd012c0302cb41d954fc40200000cb41d954fc4f100000a142cb4012000000000000a7636c6561726572a6"
            "6f70656e6169a16da145a3776879c3cb40bc2000000000009ccd06a4ccfacb3f8999999999999aa27b7d91b4696e73747275637469"
            "6f6e5f696e5f6669727374a36c6c6db4323032362d30312d33315430303a30303a30305aa26339a27b7dcb3fe00000000000009201"
            "02c3"
        ),
    ),
    (
        Scores(
            fit=2,
            iteration=3,
            verdicts=24,
            theta=(0.5, -0.5),
            standard_error=(0.25, 0.75),
            reliability=0.9,
            ssr=None,
            comparisons=(8, 16),
            wins=(7.0, 9.5),
            components=1,
            position_bias=0.125,
            previous_reliability=0.75,
            largest_change=0.25,
            grade_certainty=0.5,
        ),
        "7362617463682dc3a5000000000200000002",
        (
            "01000000000012d6879e02031892cb3fe0000000000000cbbfe000000000000092cb3fd0000000000000cb3fe8000000000000cb3fec"
            "cccccccccccdc092081092cb401c000000000000cb402300000000000001cb3fc0000000000000cb3fe8000000000000cb3fd0000000"
            "000000cb3fe0000000000000"
        ),
    ),
    (
        Control(
            state=BatchState.FAILED,
            created_at=1700000000.0,
            activity_at=1700000001.0,
            state_since=1700000002.0,
            iteration=3,
            fits=2,
            scoring_round=4,
            partial_scoring_triggered=True,
            stop_reason=StopReason("timed_out"),
            failure=FailureReason("low_success_rate"),
            failure_details={"success_rate": 0.5, "completed_comparisons": 7, "reason": "r"},
            finished_at=1700000003.0,
            joined=("c2",),
            refusals=(RefusedRequest(correlation_id="c3", reason="live", at=1700000004.0),),
            published=("failed:c1",),
            origins=(Origin(partition=3, offset=70_000, at=1700000005.0),),
            unpublishable=(Unpublishable(outcome="result:c1", why="too large", at=1700000006.0),),
            awaited_until=1700000007.0,
            provider_untold=True,
            reused=5,
        ),
        "6362617463682dc3a5000000000200000000",
        (
            "01000000000012d687dc0014a64641494c4544cb41d954fc40000000cb41d954fc40400000cb41d954fc40800000030204c3a97469"
            "6d65645f6f7574b06c6f775f737563636573735f7261746583ac737563636573735f72617465cb3fe0000000000000b5636f6d706c"
            "657465645f636f6d70617269736f6e7307a6726561736f6ea172cb41d954fc40c0000091a263329193a26333a46c697665cb41d954"
            "fc4100000091a96661696c65643a6331919303ce00011170cb41d954fc414000009193a9726573756c743a6331a9746f6f206c6172"
            "6765cb41d954fc41800000cb41d954fc41c00000c305"
        ),
    ),
]

SINCE: dict[str, Any] = {"awaited_until": 0.0, "provider_untold": False, "reused": None}
# What version 1 wrote before fields were added at the end, which then have their defaults.
OLDER: list[tuple[Row, str, str]] = [
    (
        Content(usable=(0, 2), unusable={1: "blank"}),
        "7462617463682dc3a5000000000200000000",
        "01000000000012d687929200028101a5626c616e6b",
    ),
    (
        msgspec.structs.replace(GOLDEN[0][0], policy=Policy()),
        "7262617463682dc3a5000000000200000000",
        (
            "01000000000012d68798a862617463682dc3a502d92431313131313131312d313131312d343131312d383131312d3131313131313131"
            "31313131a264319292a26531a2733192a26532a2733299a27376a4454e4735a170a7636f6d7061726598a66f70656e6169a16dcb3fb9"
            "99999999999acd01f4a3737973a3727562a36c6f77a573686f7274a161a175a16fa27470dc0012cb40cc200000000000cb4105180000"
            "000000cb40ac2000000000000314cb3fe999999999999a0acb40540000000000005fcb3fa999999999999acb3feccccccccccccd0504"
            "01cd4e2064cb412275000000000096a86164617074697665c00193ab72656c696162696c697479a973746162696c697479a964656369"
            "73696f6e73cb3feccccccccccccd90cf4000000000000001"
        ),
    ),
    (
        msgspec.structs.replace(GOLDEN[3][0], expected_wait=None, receipt=None),
        "6d62617463682dc3a500000000020000012c",
        (
            "01000000000012d6879dcd012c0302cb41d954fc40200000cb41d954fc4f100000a142cb4012000000000000a7636c6561726572a66f"
            "70656e6169a16da145a3776879c3"
        ),
    ),
    (
        msgspec.structs.replace(GOLDEN[-1][0], **SINCE),
        "6362617463682dc3a5000000000200000000",
        (
            "01000000000012d687dc0011a64641494c4544cb41d954fc40000000cb41d954fc40400000cb41d954fc40800000030204c3a974696d"
            "65645f6f7574b06c6f775f737563636573735f7261746583ac737563636573735f72617465cb3fe0000000000000b5636f6d706c6574"
            "65645f636f6d70617269736f6e7307a6726561736f6ea172cb41d954fc40c0000091a263329193a26333a46c697665cb41d954fc4100"
            "000091a96661696c65643a6331919303ce00011170cb41d954fc414000009193a9726573756c743a6331a9746f6f206c61726765cb41d954fc418000"
            "00"
        ),
    ),
    (
        msgspec.structs.replace(GOLDEN[-1][0], unpublishable=(), **SINCE),
        "6362617463682dc3a5000000000200000000",
        (
            "01000000000012d687dc0010a64641494c4544cb41d954fc40000000cb41d954fc40400000cb41d954fc40800000030204c3a974696d"
            "65645f6f7574b06c6f775f737563636573735f7261746583ac737563636573735f72617465cb3fe0000000000000b5636f6d706c6574"
            "65645f636f6d70617269736f6e7307a6726561736f6ea172cb41d954fc40c0000091a263329193a26333a46c697665cb41d954fc4100"
            "000091a96661696c65643a6331919303ce00011170cb41d954fc41400000"
        ),
    ),
    (
        msgspec.structs.replace(GOLDEN[-1][0], origins=(), unpublishable=(), **SINCE),
        "6362617463682dc3a5000000000200000000",
        (
            "01000000000012d6879fa64641494c4544cb41d954fc40000000cb41d954fc40400000cb41d954fc40800000030204c3a974696d6564"
            "5f6f7574b06c6f775f737563636573735f7261746583ac737563636573735f72617465cb3fe0000000000000b5636f6d706c65746564"
            "5f636f6d70617269736f6e7307a6726561736f6ea172cb41d954fc40c0000091a263329193a26333a46c697665cb41d954fc41000000"
            "91a96661696c65643a6331"
        ),
    ),
]

# Ids as the contracts let them in: not empty, no NUL, no lone surrogates.
batch_ids = st.text(st.characters(exclude_characters="\0", exclude_categories=["Cs"]), min_size=1, max_size=20)
runs = st.integers(1, 2**32 - 1)
numbers = st.integers(0, 2**32 - 1)
kinds = st.sampled_from(list(KINDS))
rows = st.one_of(
    st.builds(Comparison, index=numbers),
    st.builds(Plan, iteration=numbers, first_index=st.just(0), pairs=st.just(())),
    st.just(Content(usable=(), unusable={})),
    st.just(GOLDEN[-1][0]),
)


def test_there_are_golden_bytes_for_every_kind_of_row() -> None:
    assert [type(row) for row, _, _ in GOLDEN] == [Roster, Content, Plan, Comparison, Scores, Control]
    assert {type(row) for row, _, _ in GOLDEN} == set(KINDS)


@pytest.mark.parametrize(("row", "key", "value"), GOLDEN + OLDER)
def test_what_version_1_has_written_is_read_as_it_was(row: Row, key: str, value: str) -> None:
    assert decode_row(bytes.fromhex(key), bytes.fromhex(value)) == row
    assert row_position(bytes.fromhex(value)) == POSITION
    assert read_key(bytes.fromhex(key)) == ("batch-å", 2)


@pytest.mark.parametrize(("row", "key", "value"), GOLDEN)
def test_a_row_is_written_with_exactly_these_bytes(row: Row, key: str, value: str) -> None:
    assert row_key("batch-å", 2, row).hex() == key
    assert encode_row(row, POSITION).hex() == value


@pytest.mark.parametrize(("row", "key", "value"), GOLDEN)
def test_a_row_of_a_newer_version_is_refused(row: Row, key: str, value: str) -> None:
    newer = bytes([VERSION + 1]) + bytes.fromhex(value)[1:]
    with pytest.raises(NewerRowError, match=f"version {VERSION + 1}, this worker reads up to {VERSION}: upgrade it"):
        decode_row(bytes.fromhex(key), newer)
    assert row_position(newer) == row_position(encode_row(row, POSITION))


def test_a_row_from_before_a_field_was_added_at_the_end_gets_its_default() -> None:
    key, value = (bytes.fromhex(part) for part in GOLDEN[3][1:])
    header, fields = value[:9], msgspec.msgpack.decode(value[9:])
    older = decode_row(key, header + msgspec.msgpack.encode(fields[:-1]))
    assert isinstance(older, Comparison)
    assert (older.error_message, older.answered, older.receipt) == ("why", True, None)


@pytest.mark.parametrize(("number", "added"), [(0, 1), (4, 3)])
def test_rows_from_before_the_rules_of_judging_were_stored_get_the_defaults(number: int, added: int) -> None:
    row, key, value = GOLDEN[number]
    fields = msgspec.msgpack.decode(bytes.fromhex(value)[9:])
    kept = [*fields[:6], fields[6][:-added], *fields[7:]] if isinstance(row, Roster) else fields[:-added]
    older = decode_row(bytes.fromhex(key), bytes.fromhex(value)[:9] + msgspec.msgpack.encode(kept))
    if isinstance(older, Scores):
        assert (older.previous_reliability, older.largest_change, older.grade_certainty) == (None, None, None)
        assert older.position_bias == 0.125
    else:
        assert older == msgspec.structs.replace(row, policy=Policy())


def test_a_heartbeat_is_a_position_and_nothing_else() -> None:
    assert encode_heartbeat(77).hex() == "01000000000000004d"
    assert row_position(encode_heartbeat(77)) == 77
    assert heartbeat_base(encode_heartbeat(77)) == 0
    based = encode_heartbeat(77, 1_000_000)
    assert (row_position(based), heartbeat_base(based)) == (77, 1_000_000)
    assert not any(HEARTBEAT_KEY.startswith(kind) for kind in KINDS.values())


@given(row=rows, position=st.integers(0, 2**63 - 1), batch_id=batch_ids, run=runs)
def test_any_row_is_read_as_it_was_written(row: Row, position: int, batch_id: str, run: int) -> None:
    key, value = row_key(batch_id, run, row), encode_row(row, position)
    assert decode_row(key, value) == row
    assert row_position(value) == position
    assert read_key(key) == (batch_id, run)


@given(st.tuples(batch_ids, runs, rows), st.tuples(batch_ids, runs, rows))
@example(("a", 1, Comparison(index=1)), ("a\x01", 1, Comparison(index=1)))
@example(("a", 1, Comparison(index=0)), ("a", 1, Content(usable=(), unusable={})))
def test_no_two_rows_have_the_same_key(first: tuple[str, int, Row], second: tuple[str, int, Row]) -> None:
    def identity(batch_id: str, run: int, row: Row) -> tuple[object, ...]:
        number = row.index if isinstance(row, Comparison) else row.iteration if isinstance(row, Plan) else 0
        return type(row), batch_id, run, number

    assert (row_key(*first) == row_key(*second)) == (identity(*first) == identity(*second))


@given(batch_ids, batch_ids, runs, runs, kinds, rows)
@example("ab", "a", 1, 1, Comparison, Comparison(index=7))
@example("a\x01", "a", 1, 1, Comparison, Comparison(index=7))
@example("a", "a", 1, 256, Comparison, Comparison(index=7))
def test_the_prefix_of_a_batch_or_run_matches_its_own_rows_only(
    batch_id: str, asked: str, run: int, asked_run: int, kind: type[Row], row: Row
) -> None:
    key = row_key(batch_id, run, row)
    same = kind is type(row) and asked == batch_id
    assert key.startswith(prefix(kind)) == (kind is type(row))
    assert key.startswith(prefix(kind, asked)) == same
    assert key.startswith(prefix(kind, asked, asked_run)) == (same and asked_run == run)


@given(batch_ids, runs, numbers, numbers)
def test_the_rows_of_a_run_sort_by_their_number(batch_id: str, run: int, first: int, second: int) -> None:
    keys = [row_key(batch_id, run, Comparison(index=index)) for index in (first, second)]
    assert (keys[0] < keys[1]) == (first < second)
