"""Settings of two apps on one machine: each has its own variables, group, topics and folder, and its own words."""

from __future__ import annotations

from pathlib import Path
from typing import ClassVar

import pytest
from pydantic import ValidationError
from pydantic_settings import SettingsConfigDict

from cj_stream.engine import web_address
from cj_stream.engine.engine_settings import EngineSettings
from cj_stream.engine.local_store import FolderError, LocalStore
from cj_stream.engine.naming import Names
from cj_stream.operations.settings import Settings


class ShopSettings(EngineSettings):
    """Settings of another app."""

    names: ClassVar[Names] = Names("SHOP_", "shop")
    model_config = SettingsConfigDict(env_prefix="SHOP_")

    app_id: str = "shop"


def test_each_app_reads_the_variables_with_its_own_prefix(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("SHOP_WEB_PORT", "7001")
    monkeypatch.setenv("CJ_WEB_PORT", "7002")
    assert (ShopSettings().web_port, Settings().web_port) == (7001, 7002)


def test_two_apps_meet_in_no_group_and_no_topic_by_default() -> None:
    shop, ours = ShopSettings(), Settings()
    names = [{app.app_id, app.log_topic, app.changelog_topic, app.dead_letter_topic} for app in (shop, ours)]
    assert [len(found) for found in names] == [4, 4]
    assert not names[0] & names[1]


def test_an_app_without_a_name_is_refused() -> None:
    class Nameless(EngineSettings):
        """Settings that name nothing."""

        names: ClassVar[Names] = Names("NAMELESS_", "nameless")

    with pytest.raises(ValidationError, match="app_id"):
        Nameless()


def test_what_is_wrong_is_told_under_the_name_of_the_apps_own_variable(tmp_path: Path) -> None:
    with pytest.raises(
        ValidationError, match=r"SHOP_HEARTBEAT_SECONDS \(5\) must be at most a quarter of SHOP_SESSION"
    ):
        ShopSettings(heartbeat_seconds=5)
    assert "SHOP_WEB_HOST=no.such.host.invalid is no" in str(
        web_address.address_problems("no.such.host.invalid", 1, ShopSettings.names)
    )
    first, second = (LocalStore(tmp_path, ShopSettings.names) for _ in range(2))
    first.lock()
    with pytest.raises(FolderError, match="give each worker its own SHOP_DATA_DIR"):
        second.lock()
    first.close(clean=True)
