from __future__ import annotations

from collections.abc import AsyncIterator
from contextlib import AsyncExitStack
from pathlib import Path
from typing import Any

import pytest
from aiohttp.test_utils import TestClient, TestServer
from pydantic import SecretStr
from unit.views.served_views import TOKEN, Serve, Served

from cj_stream.operations.settings import Settings
from cj_stream.worker import build_worker


@pytest.fixture
async def serve(tmp_path: Path) -> AsyncIterator[Serve]:
    async with AsyncExitStack() as stack:

        async def start(**settings: Any) -> Served:
            token = SecretStr(TOKEN)
            app = build_worker(Settings(**{"data_dir": tmp_path, "operator_token": token, **settings}))
            app.faust.web.init_server()
            client = await stack.enter_async_context(TestClient(TestServer(app.faust.web.web_app)))
            served = Served(app.service, client)
            served.knows({})
            stack.push_async_callback(app.after_stop)
            stack.push_async_callback(app.faust._maybe_close_http_client)
            return served

        yield start
