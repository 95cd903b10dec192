"""Versions and sources of the libraries are verified at start, so that an upgrade cannot silently undo the hardening.

Hazard in Faust 0.15.3 and aiokafka 0.14.0: what is hardened here are private methods, overridden, wrapped or relied on
to do just what they do. A release may change any of them, and everything would still start and run. So each of them is
compared with the source that was reviewed, and a worker that finds another one refuses to start.

Faust's stream iterator and conductor are compiled from ``.pyx`` files, which come with them and are compared whole; its
pure Python iterator acknowledges events of an earlier assignment instead of leaving them unread (``streams.py``
1287-1344), so the compiled one is required.

After a review, and a run of all tests, `python -m cj_stream.engine.overrides.sources` writes down what is installed.

Test: ``test_sources.py``.
"""

from __future__ import annotations

import json
import re
from collections.abc import Iterable, Iterator, Mapping
from hashlib import sha256
from importlib.metadata import PackageNotFoundError, version
from importlib.util import find_spec
from pathlib import Path

import faust.streams

from cj_stream.engine.process import refuse_to_start

VERSIONS = {"faust-streaming": "0.15.3", "aiokafka": "0.14.0", "mode-streaming": "0.7.1", "rocksdict": "0.3.29"}
_CONSUMER = (
    "__init__ _add_gap _commit_offsets _commit_tps _drain_messages _filter_committable_offsets "
    "_filter_tps_with_pending_acks _new_offset _wait_next_records ack commit force_commit "
    "getmany maybe_wait_for_commit_to_finish on_partitions_assigned on_partitions_revoked pause_partitions "
    "perform_seek resume_flow resume_partitions stop_flow verify_all_partitions_active wait_empty"
)
_RECOVERY = (
    "_add _build_highwaters _build_offsets _restart_recovery _seek_offsets _set_recovery_ended _slurp_changelogs "
    "_set_recovery_started _wait active_remaining add_active flush_buffers need_recovery on_partitions_revoked "
    "on_rebalance on_recovery_completed revoke standby_remaining standby_remaining_total"
)
_APP = (
    "_new_producer_transport _new_transport _on_partitions_assigned _on_partitions_revoked "
    "_on_rebalance_when_stopped _stop_consumer on_rebalance_end on_rebalance_start on_stop timer"
)
_THREAD = (
    "_commit _create_worker_consumer _fetch_records _highwaters _seek_wait assignment close getmany "
    "on_start on_thread_stop seek_to_committed"
)
_COORDINATOR = (
    "_do_commit_offsets _do_fetch_commit_offsets _do_heartbeat _maybe_leave_group _on_join_prepare _send_req "
    "commit_offsets fetch_committed_offsets request_rejoin reset_generation"
)
RELIED_ON: Mapping[str, Mapping[str, str]] = {
    "faust._cython.streams": {},
    "faust.agents.agent": {"Agent": "_execute_actor"},
    "faust.app.base": {"App": _APP},
    "faust.assignor.partition_assignor": {
        "PartitionAssignor": "_get_client_metadata _perform_assignment on_assignment table_metadata"
    },
    "faust.stores.rocksdb": {"Store": "_db_for_partition _open_for_partition persisted_offset set_persisted_offset"},
    "faust.streams": {"Stream": "_c_aiter"},
    "faust.tables.base": {"Collection": "on_recovery_completed persisted_offset"},
    "faust.tables.manager": {"TableManager": "on_partitions_revoked on_rebalance recovery"},
    "faust.tables.recovery": {"Recovery": _RECOVERY},
    "faust.transport._cython.conductor": {},
    "faust.transport.consumer": {
        "Consumer": _CONSUMER,
        "ThreadDelegateConsumer": "__init__ _getmany threadsafe_partitions_assigned threadsafe_partitions_revoked",
    },
    "faust.transport.drivers.aiokafka": {
        "AIOKafkaConsumerThread": _THREAD,
        "Consumer": "_new_consumer_thread _to_message",
        "ConsumerRebalanceListener": "on_partitions_assigned on_partitions_revoked",
        "Producer": "_producer_type _settings_auth _settings_default _settings_extra flush on_start on_stop send",
    },
    "faust.transport.utils": {
        "DefaultSchedulingStrategy": "iterate map_from_records records_iterator",
        "TopicBuffer": "__iter__ __next__ add",
    },
    "faust.types.tuples": {"Message": "__init__ ack", "ConsumerMessage": "on_final_ack"},
    "faust.worker": {"Worker": "__init__"},
    "mode.utils.queues": {"FlowControlEvent": "acquire clear is_active resume suspend", "ThrowableQueue": "clear"},
    "mode.services": {"Service": "_crash crash itertimer wait_first"},
    "mode.worker": {"Worker": "_sentinel_task execute_from_commandline stop_and_shutdown"},
    "mode.signals": {"Signal": "send"},
    "mode.threads": {"MethodQueue": "_process_enqueued call", "QueueServiceThread": "call_thread on_thread_stop"},
    "aiokafka.admin.client": {"AIOKafkaAdminClient": "_send_request"},
    "aiokafka.client": {"AIOKafkaClient": "_md_synchronizer _metadata_update force_metadata_update send"},
    "aiokafka.consumer.consumer": {"AIOKafkaConsumer": "commit committed end_offsets seek"},
    "aiokafka.consumer.fetcher": {
        "FetchResult": "_update_position check_assignment getall",
        "Fetcher": "_get_actions_per_node _proc_fetch_request _proc_offset_request "
        "_retrieve_offsets end_offsets fetched_records seek_to",
        "PartitionRecords": "_unpack_records",
    },
    "aiokafka.consumer.group_coordinator": {
        "GroupCoordinator": _COORDINATOR,
        "CoordinatorGroupRebalance": "perform_group_join",
    },
    "aiokafka.consumer.subscription_state": {
        "Assignment": "state_value",
        "TopicPartitionState": "consumed_to has_valid_position position reset_to seek",
    },
    "aiokafka.producer.message_accumulator": {
        "BatchBuilder": "append close record_count",
        "MessageAccumulator": "_pop_batch add_batch add_message create_builder drain_by_nodes reenqueue",
        "MessageBatch": "done drain_ready failure remaining_linger wait_drain",
    },
    "aiokafka.producer.producer": {"AIOKafkaProducer": "_serialize create_batch send send_batch"},
    "aiokafka.protocol.fetch": {"FetchRequest": "__init__ build topics"},
    "aiokafka.producer.sender": {
        "SendProduceReqHandler": "_can_retry handle_response",
        "Sender": "_sender_routine",
    },
}
"""By module and class the methods that are overridden, wrapped or relied on; without a class the whole file."""
_CLASS = re.compile(r"^class (?P<name>\w+)\b.*\n(?P<body>(?:(?:[ #)].*)?\n)*)", re.MULTILINE)
# Decorators, the signature, and all that is indented further; the end of a long signature is not.
_METHOD = re.compile(r"(?:^    @.*\n)*^    (?:async )?def (?P<name>\w+)\(.*\n(?:(?:    [ )].*| *)\n)*", re.MULTILINE)
REVIEWED = Path(__file__).with_name("sources.json")
_WHAT_TO_DO = (
    "review what changed against cj_stream/engine, run all tests, then write the new digests with "
    "python -m cj_stream.engine.overrides.sources"
)


def verify_sources() -> None:
    """End the process with exit code 78 when the libraries are not the ones that were reviewed."""
    found = [*_wrong_versions(), *changed(json.loads(REVIEWED.read_text()), digests())]
    if faust.streams._CStreamIterator is None:  # noqa: SLF001 (Faust has no public sign of it)
        found.append("Faust's compiled stream iterator is missing: unset NO_CYTHON, or install a wheel that has it")
    if found:
        refuse_to_start(found)


def digests() -> dict[str, str]:
    """Return a digest of the source of everything in `RELIED_ON`, by name."""
    return {name: sha256(text.encode()).hexdigest()[:16] for module in RELIED_ON for name, text in _sources(module)}


def changed(reviewed: Mapping[str, str], installed: Mapping[str, str]) -> list[str]:
    """Return what is wrong with the installed sources, and what to do about it."""
    names = sorted(name for name in {*reviewed, *installed} if reviewed.get(name) != installed.get(name))
    return [f"{name} is not the source that was reviewed: {_WHAT_TO_DO}" for name in names]


def _wrong_versions() -> Iterable[str]:
    for package, wanted in VERSIONS.items():
        try:
            found = version(package)
        except PackageNotFoundError:
            found = "missing"
        if found != wanted:
            yield f"{package} is {found}, but {wanted} was reviewed: install that, or {_WHAT_TO_DO}"


def _sources(module: str) -> Iterator[tuple[str, str]]:
    spec = find_spec(module)
    if spec is None or spec.origin is None:
        return
    path = Path(spec.origin)
    classes = RELIED_ON[module]
    if not classes:
        text = path.with_name(f"{module.rpartition('.')[2]}.pyx")
        yield module, text.read_text() if text.exists() else ""
        return
    yield from ((f"{module}.{name}", text) for name, text in _methods(path.read_text(), classes))


def _methods(source: str, classes: Mapping[str, str]) -> Iterator[tuple[str, str]]:
    """Find methods by their indentation: parsing would take a second at every start."""
    for found in _CLASS.finditer(source):
        wanted = classes.get(found["name"], "").split()
        for method in _METHOD.finditer(found["body"]) if wanted else ():
            if method["name"] in wanted:
                yield f"{found['name']}.{method['name']}", method[0].rstrip()


def _missing() -> list[str]:
    wanted = {
        f"{module}.{name}.{method}"
        for module, found in RELIED_ON.items()
        for name in found
        for method in found[name].split()
    }
    return sorted(wanted - digests().keys())


if __name__ == "__main__":
    if missing := _missing():
        raise SystemExit(f"not found: {', '.join(missing)}")
    REVIEWED.write_text(json.dumps(digests(), indent=1, sort_keys=True) + "\n")
    print(f"wrote {REVIEWED}")  # noqa: T201 (a command)
