"""How commands that go to Kafka themselves say that it cannot be done."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager

from cj_stream.cli.options import start_advice
from cj_stream.cli.output import fail
from cj_stream.streaming.provisioning import NoBrokerError, ProvisioningError


@contextmanager
def reporting_kafka(*expected: type[Exception]) -> Iterator[None]:
    """End the command in the words of the error when Kafka, or one of ``expected``, makes it impossible."""
    try:
        yield
    except NoBrokerError as error:
        fail(f"{error}: {start_advice('CJ_KAFKA_BOOTSTRAP')}")
    except ProvisioningError as error:
        fail(str(error))
    except expected as error:
        fail(str(error))
