"""How commands that go to Kafka themselves say that it cannot be done."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Iterator
from contextlib import contextmanager
from typing import TypeVar

from cj_stream.cli.shared.options import start_advice
from cj_stream.cli.shared.output import end_with_error, telling_when_slow
from cj_stream.engine.provisioning import NoBrokerError, ProvisioningError

Result = TypeVar("Result")


def ask_kafka(bootstrap: str, question: Awaitable[Result]) -> Result:
    """Return the answer of Kafka to a short question, and say so when it takes long."""

    async def asked() -> Result:
        with telling_when_slow(f"Kafka at {bootstrap}"):
            return await question

    return asyncio.run(asked())


@contextmanager
def reporting_kafka(*expected: type[Exception]) -> Iterator[None]:
    """End the command in the words of the error when Kafka, or one of ``expected``, makes it impossible."""
    try:
        yield
    except NoBrokerError as error:
        end_with_error(f"{error}: {start_advice('CJ_KAFKA_BOOTSTRAP')}")
    except ProvisioningError as error:
        end_with_error(str(error))
    except expected as error:
        end_with_error(str(error))
