"""What both official SDKs have in common: a client that is made when it is needed, and calls that never repeat."""

from __future__ import annotations

import logging
from collections.abc import Awaitable, Callable, Mapping
from importlib import import_module
from typing import Any, ClassVar

from cj_stream.gateway.models.connection import Heard, failure_of, heard, http_client

Create = Callable[..., Awaitable[Any]]


class SdkEndpoint:
    """An endpoint at ``address`` that is asked with an SDK, which is of an extra: only a gateway imports it."""

    sdk: ClassVar[str]
    """The module of the SDK, which names its loggers as well."""
    client: ClassVar[str]
    """The class of its client."""

    def __init__(self, address: str, key: str, timeout_seconds: float) -> None:
        self._address = address
        self._key = key
        self._timeout = timeout_seconds
        self._client: Any = None

    def create(self, client: Any) -> Create:
        """Return what makes a call and returns the raw answer."""
        raise NotImplementedError

    def open(self) -> Any:
        """Return the client. The first time takes a moment: the SDK is imported, and certificates are loaded."""
        if self._client is None:
            # Its debug log holds what is sent.
            logging.getLogger(self.sdk).setLevel(logging.WARNING)
            self._client = getattr(import_module(self.sdk), self.client)(
                api_key=self._key,
                base_url=self._address,
                max_retries=0,
                timeout=self._timeout,
                http_client=http_client(self._timeout),
            )
        return self._client

    async def call(self, body: Mapping[str, Any], headers: Mapping[str, str]) -> Heard:
        """Return the endpoint's answer, of whatever status. Raises UnavailableError and TooLargeError."""
        create, sdk = self.create(self.open()), import_module(self.sdk)
        try:
            answer = await create(**body, extra_headers=headers)
        except sdk.APIStatusError as error:
            return heard(error.response)
        except sdk.APIConnectionError as error:
            raise failure_of(error) from error
        return heard(answer.http_response)

    async def close(self) -> None:
        """Close the connections."""
        if self._client is not None:
            await self._client.close()
