"""What the development broker is started with: its ports, its properties, its logging and the flags of its JVM."""

from __future__ import annotations

import random
import socket
from pathlib import Path

PROPERTIES, LOGGING = "server.properties", "log4j2.properties"
HOST = "127.0.0.1"
DEFAULT_PORT = 9092
# Below the ports that systems lend to outgoing connections: one of those could hold the broker's port while it is down
# (a client that keeps trying can even connect to itself), and then the broker could not come back to it.
_FREE_PORTS = range(20_000, 30_000)

JVM_FLAGS = (
    "-Xms96m",
    "-Xmx512m",
    "-XX:+UseSerialGC",  # the smallest; pauses of a small heap are short
    "-XX:TieredStopAtLevel=1",  # the quick compiler only: the start takes two thirds of the time
    "-XX:-UsePerfData",
    "-Djava.awt.headless=true",
    # Java 24 and later warn about what Kafka's compression and metrics libraries do.
    "--enable-native-access=ALL-UNNAMED",
    "--sun-misc-unsafe-memory-access=allow",
)

# A broker that was killed can register again only when its last session is over, hence the short session.
_PROPERTIES = """\
process.roles=broker,controller
node.id=1
controller.quorum.voters=1@{host}:{controller_port}
listeners=BROKER://{host}:{port},CONTROLLER://{host}:{controller_port}
advertised.listeners=BROKER://{host}:{port}
listener.security.protocol.map=BROKER:PLAINTEXT,CONTROLLER:PLAINTEXT
inter.broker.listener.name=BROKER
controller.listener.names=CONTROLLER
log.dirs=data
auto.create.topics.enable=false
default.replication.factor=1
min.insync.replicas=1
offsets.topic.replication.factor=1
offsets.topic.num.partitions=4
transaction.state.log.replication.factor=1
transaction.state.log.min.isr=1
transaction.state.log.num.partitions=1
share.coordinator.state.topic.replication.factor=1
share.coordinator.state.topic.min.isr=1
share.coordinator.state.topic.num.partitions=1
broker.session.timeout.ms=3000
broker.heartbeat.interval.ms=500
group.initial.rebalance.delay.ms=0
group.min.session.timeout.ms=1000
group.coordinator.append.linger.ms=0
num.network.threads=2
num.io.threads=4
background.threads=2
log.cleaner.dedupe.buffer.size=8388608
log.index.size.max.bytes=1048576
file.delete.delay.ms=1000
"""

_LOGGING = """\
status=WARN
shutdownHook=disable
appender.console.type=Console
appender.console.name=console
appender.console.layout.type=PatternLayout
appender.console.layout.pattern=%d{ISO8601} %-5p %m (%c{1})%n%throwable
rootLogger.level=INFO
rootLogger.appenderRef.console.ref=console
logger.values.name=org.apache.kafka.common.config.AbstractConfig
logger.values.level=WARN
"""


def write_config(folder: Path, port: int, controller_port: int) -> None:
    """Write the broker's properties and its logging into ``folder``, where it has to be started: ``data`` is there.

    No file names a path: Kafka takes a comma, a backslash and letters beyond ASCII in one for something else.
    """
    (folder / PROPERTIES).write_text(_PROPERTIES.format(host=HOST, port=port, controller_port=controller_port))
    (folder / LOGGING).write_text(_LOGGING)


def is_free(port: int) -> bool:
    """Tell whether a server could listen on ``port`` of this machine's loopback address now."""
    with socket.socket() as probe:
        probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)  # as Kafka does: old connections do not count
        try:
            probe.bind((HOST, port))
        except OSError:
            return False
        return True


def free_port(apart_from: int | None = None) -> int:
    """Return a random port that nobody listens on, outside the range of outgoing connections."""
    candidates = random.sample(_FREE_PORTS, len(_FREE_PORTS))
    return next(port for port in candidates if port != apart_from and is_free(port))
