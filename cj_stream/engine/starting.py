"""How an app begins: settings from the environment, the libraries verified, the app built; or the reason why not.

Whatever is wrong ends the process with a sentence and the exit code that says whether another start helps.

Test: ``test_starting.py``.
"""

from __future__ import annotations

import os
from collections.abc import Callable
from typing import TypeVar

import mode.loop
from pydantic import ValidationError

from cj_stream.engine.engine_settings import EngineSettings
from cj_stream.engine.naming import Names
from cj_stream.engine.overrides.crashes import end_for
from cj_stream.engine.overrides.sources import verify_sources
from cj_stream.engine.process import refuse_to_start

SettingsT = TypeVar("SettingsT", bound=EngineSettings)
AppT = TypeVar("AppT")


def start(settings: Callable[[], SettingsT], names: Names, build: Callable[[SettingsT], AppT]) -> AppT:
    """Return what ``build`` makes of the settings, or end the process and say why there is nothing to run."""
    # The local database is for nobody else on the machine.
    os.umask(0o077)
    try:
        found = settings()
        verify_sources()
        app = build(found)
    except ValidationError as error:
        refuse_to_start(settings_problems(error, names))
    except Exception as error:  # noqa: BLE001 (Faust's command line would end with exit code 1)
        end_for(error, names)
    # Faust makes its loop when all is built, and those of its threads later.
    mode.loop.use("uvloop")
    return app


def settings_problems(error: ValidationError, names: Names) -> list[str]:
    """Return a sentence for each thing that is wrong with the settings, under the name of its environment variable."""
    return [_sentence(problem["loc"], problem["msg"], names) for problem in error.errors()]


def _sentence(location: tuple[int | str, ...], message: str, names: Names) -> str:
    message = message.removeprefix("Value error, ")
    return f"{names.setting(str(location[0]))}: {message}" if location else message
