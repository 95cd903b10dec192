"""The turns of a worker's life, at which somebody may have something to do. Each has a default that does nothing."""

from __future__ import annotations

from typing import Any


class Lifecycle:
    """What is done when a worker starts, takes over partitions, gives them up, and stops."""

    async def before_start(self) -> None:
        """Do what comes with the local store locked, before anything is started: wait, or refuse to start."""

    async def before_join(self) -> None:
        """Do what comes once the local store is open, before the group is joined."""

    def before_seek(self, partitions: set[int]) -> None:
        """Do what comes when the tables of these partitions are recovered, before reading begins anywhere."""

    async def after_seek(self) -> None:
        """Do what comes when it is known where reading begins, before it does."""

    async def revoked(self, partitions: set[int]) -> None:
        """Finish, bounded, what is under way for partitions that are taken away, and forget them."""

    def released(self, partition: int, position: int, subjects: list[Any]) -> None:
        """Take over subjects that a commit of a partition up to ``position`` has released."""

    async def before_stop(self) -> None:
        """Finish, bounded, what is under way, before anything is stopped."""

    async def after_stop(self) -> None:
        """Do what comes once the last commit is made."""
