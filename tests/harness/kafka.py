"""A real Apache Kafka, one node in KRaft mode, for tests and for ``make services``.

Its jars are listed in ``pom.xml`` and downloaded from Maven Central once, into the user's cache folder.
"""

from __future__ import annotations

import hashlib
import os
import secrets
import shutil
import subprocess
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from tempfile import TemporaryDirectory, mkdtemp
from typing import Any

from confluent_kafka import Producer
from confluent_kafka.admin import AdminClient
from confluent_kafka.cimpl import NewTopic

from tests.harness.certificates import self_signed
from tests.harness.daemons import Daemon, program
from tests.harness.mock_kafka import MockKafka
from tests.harness.servers import free_port

POM = Path(__file__).with_name("pom.xml")
USER, PASSWORD = "ada", "lovelace"
_JAVA_OPTIONS = ("-Xms64m", "-Xmx384m", "-XX:+UseSerialGC", "-XX:TieredStopAtLevel=1", "-Xshare:auto")
_FETCH_SECONDS = 600


class Kafka(Daemon):
    """A running broker, which does not create topics automatically."""

    # The port that requires TLS and a password.
    secure_port: int
    # The certificate that clients of the secure port must trust.
    certificate: Path

    @property
    def servers(self) -> str:
        """Return the address of the port without TLS."""
        return f"127.0.0.1:{self.port}"

    def url(self, topic: str, options: str = "") -> str:
        """Return a topic's URL."""
        return f"kafka://{self.servers}/{topic}{'?' if options else ''}{options}"

    def secure_url(self, topic: str, password: str = PASSWORD) -> str:
        """Return a topic's URL on the port with TLS and password."""
        address = f"{USER}:{password}@127.0.0.1:{self.secure_port}"
        return f"kafka+ssl://{address}/{topic}?ssl.ca.location={self.certificate}"


AnyKafka = Kafka | MockKafka


@contextmanager
def kafka() -> Iterator[Kafka]:
    """Run a broker on free ports; raises Missing without Java, or without Maven if Kafka must be downloaded."""
    java, jars = program("java"), _jars()
    with TemporaryDirectory(prefix="pycalc-kafka-") as folder:
        data = Path(folder)
        port, secure_port, controller_port = free_port(), free_port(), free_port()
        properties = data / "server.properties"
        properties.write_text(_properties(data, port, secure_port, controller_port))
        command = [java, *_JAVA_OPTIONS, "-cp", f"{jars}/*"]
        identity = secrets.token_urlsafe(16)
        _run([*command, "kafka.tools.StorageTool", "format", f"--cluster-id={identity}", "-c", str(properties)])
        broker = Kafka("Apache Kafka", [*command, "kafka.Kafka", str(properties)], port, data / "log")
        broker.secure_port, broker.certificate = secure_port, data / "certificate.pem"
        try:
            broker.start()
            _warm_up(broker)
            yield broker
        finally:
            broker.kill()


def _warm_up(broker: Kafka) -> None:
    """Publish a first message, so that no test waits for the coordinators of a new broker.

    Raises RuntimeError with the driver's last error if the broker does not take the message within a minute.
    """
    errors = ["no error was reported"]
    settings: dict[str, Any] = {
        "bootstrap.servers": broker.servers,
        "log_level": 2,  # a new broker's "Coordinator load in progress" is expected, and the driver tries again
        "error_cb": lambda error: errors.append(error.str()),
    }
    admin = AdminClient(settings)
    admin.create_topics([NewTopic("warm-up", 1, 1)])["warm-up"].result(60)
    producer = Producer({**settings, "enable.idempotence": True})
    producer.produce("warm-up", b"warm")
    if producer.flush(60):
        raise RuntimeError(f"Apache Kafka does not take messages: {errors[-1]}")
    producer.close()


def _properties(data: Path, port: int, secure_port: int, controller_port: int) -> str:
    login = f'org.apache.kafka.common.security.plain.PlainLoginModule required user_{USER}="{PASSWORD}";'
    identity = self_signed(data / "certificate.pem", data / "identity.pem")
    settings = {
        "process.roles": "broker,controller",
        "node.id": "1",
        "controller.quorum.voters": f"1@127.0.0.1:{controller_port}",
        "controller.listener.names": "CONTROLLER",
        "listeners": f"PLAINTEXT://127.0.0.1:{port},SASL_SSL://127.0.0.1:{secure_port},"
        f"CONTROLLER://127.0.0.1:{controller_port}",
        "listener.security.protocol.map": "PLAINTEXT:PLAINTEXT,SASL_SSL:SASL_SSL,CONTROLLER:PLAINTEXT",
        "sasl.enabled.mechanisms": "PLAIN",
        "listener.name.sasl_ssl.plain.sasl.jaas.config": login,
        "ssl.keystore.type": "PEM",
        "ssl.keystore.location": str(identity),
        "log.dirs": str(data / "data"),
        "auto.create.topics.enable": "false",
        "broker.heartbeat.interval.ms": "300",
        "broker.session.timeout.ms": "1500",  # a restarted broker must wait until its old session expires
        "group.initial.rebalance.delay.ms": "0",
        "group.min.session.timeout.ms": "1000",
        "num.io.threads": "2",
        "num.network.threads": "2",
        **{
            f"{topic}.{setting}": "1"
            for topic in ("offsets.topic", "transaction.state.log", "share.coordinator.state.topic")
            for setting in ("replication.factor", "num.partitions")
        },
        "transaction.state.log.min.isr": "1",
        "share.coordinator.state.topic.min.isr": "1",
    }
    return "".join(f"{name}={value}\n" for name, value in settings.items())


def _jars() -> Path:
    """Return the folder of Kafka's jars in the user's cache. If it is missing, download the jars with Maven."""
    cache = Path(os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache") / "pycalc"
    jars = cache / f"kafka-{hashlib.sha256(POM.read_bytes()).hexdigest()[:12]}"
    if jars.exists():
        return jars
    maven = program("mvn")
    cache.mkdir(parents=True, exist_ok=True)
    fetched = Path(mkdtemp(dir=cache))
    goal = ("dependency:copy-dependencies", "-DincludeScope=runtime", f"-DoutputDirectory={fetched}")
    _run([maven, "--batch-mode", "--quiet", "--file", str(POM), *goal])
    try:
        fetched.rename(jars)
    except OSError:  # another test run has filled the folder in the meantime
        shutil.rmtree(fetched)
    return jars


def _run(command: list[str]) -> None:
    done = subprocess.run(command, capture_output=True, text=True, timeout=_FETCH_SECONDS, check=False)
    if done.returncode:
        raise RuntimeError(f"{command[0]} failed:\n{done.stdout[-2_000:]}{done.stderr[-2_000:]}")
