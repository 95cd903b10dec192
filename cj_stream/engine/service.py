"""What an app adds to the engine: its input, its state, its work."""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Mapping, MutableMapping, Sequence
from typing import Any, NamedTuple, Protocol

from cj_stream.engine.dead_letters import DeadLetters, Handle
from cj_stream.engine.dispatcher import Dispatcher
from cj_stream.engine.lifecycle import Lifecycle
from cj_stream.engine.positions import Positions
from cj_stream.engine.runs import Run
from cj_stream.engine.shared_input import OwnInput
from cj_stream.engine.topics import TopicSpec
from cj_stream.engine.web_answers import Page
from cj_stream.engine.windows import Windows


class Input(NamedTuple):
    """A topic that is read in runs; ``name`` is for the logs."""

    name: str
    topic: str
    handle: Handle


class Timer(NamedTuple):
    """Something that is done every so many seconds."""

    seconds: float
    run: Callable[[], Awaitable[None]]


class LogReader(Protocol):
    """Reads the log of events. ``homes`` holds what it knows of each partition that is served."""

    @property
    def homes(self) -> MutableMapping[int, Any]:
        """What is held of each partition."""

    async def handle(self, run: Run) -> None:
        """Apply the events of a run."""


class Service(Lifecycle):
    """What an app adds. It is made by a function that gets the engine, and complete when that returns."""

    log: LogReader
    """The one writer of the table."""
    dispatcher: Dispatcher[Any, Any, Any]
    positions: Positions
    dead_letters: DeadLetters
    inputs: Sequence[Input]
    log_name = "log"
    """What the agent of the log is called in logs."""
    topics: Sequence[TopicSpec]
    """The topics that have to be as they are said to be."""
    own_input: OwnInput
    """What no other application may work on."""
    windows: Windows[Any, Any, Any] | None = None
    window_seconds: float = 60.0
    timers: Sequence[Timer] = ()
    gets: Mapping[str, Page] = {}
    """Pages that are read, by path; those of the health are the engine's."""
    posts: Mapping[str, Page] = {}
    puts: Mapping[str, Page] = {}
    deletes: Mapping[str, Page] = {}
