"""Write the lock of Kafka's jars anew, after a change of version.

Run ``python -m cj_stream.devkit.lock_jars > cj_stream/devkit/kafka-jars.sha256`` and review the difference.
"""

from __future__ import annotations

import tempfile
from pathlib import Path

import click
from jgo.maven import Artifact, MavenContext
from jgo.parse import Coordinate

from cj_stream.devkit.jars import KAFKA_VERSION, sha256_of

KAFKA = Coordinate("org.apache.kafka", "kafka_2.13", KAFKA_VERSION, scope="compile")
# Kafka logs through slf4j and leaves the binding to the distribution; the version is that of Kafka's own log4j-core.
LOG_BINDING = Coordinate("org.apache.logging.log4j", "log4j-slf4j-impl", "2.24.3")


def lock_lines() -> list[str]:
    """Return the lines of the lock: Kafka, its run-time dependencies and their sha256 values, by coordinates."""
    with tempfile.TemporaryDirectory() as scratch:
        return sorted((_line(artifact) for artifact in _resolve(Path(scratch))), key=lambda line: line.split()[1])


def _resolve(scratch: Path) -> list[Artifact]:
    maven = MavenContext(repo_cache=scratch)
    kafka, dependencies = maven.resolver.resolve([maven.create_dependency(KAFKA)])
    # Resolved apart: as a second root, its dependency management would replace versions that Kafka asks for.
    binding = maven.create_dependency(LOG_BINDING)
    run_time = [node for node in dependencies if node.scope in {"compile", "runtime"}]
    return [node.artifact for node in (*kafka, *run_time, binding)]


def _line(artifact: Artifact) -> str:
    return f"{sha256_of(artifact.resolve())}  {artifact.groupId}:{artifact.artifactId}:{artifact.version}"


if __name__ == "__main__":
    click.echo(f"# The jars of Apache Kafka {KAFKA_VERSION}, written by python -m cj_stream.devkit.lock_jars")
    for lock_line in lock_lines():
        click.echo(lock_line)
