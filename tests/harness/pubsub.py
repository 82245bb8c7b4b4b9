"""Google's Pub/Sub emulator, for tests and for ``make services``; it keeps all data in memory."""

from __future__ import annotations

import subprocess
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from tempfile import TemporaryDirectory

import grpc
from google.pubsub_v1 import PublisherClient, PubsubMessage
from google.pubsub_v1.services.publisher.transports import PublisherGrpcTransport

from tests.harness.daemons import Daemon, Missing, program
from tests.harness.servers import free_port

PROJECT = "pycalc-tests"
_JAVA_OPTIONS = ("-Xms64m", "-Xmx4g", "-XX:+UseSerialGC", "-XX:TieredStopAtLevel=1", "-Xshare:auto")


class PubSub(Daemon):
    """A running emulator. Stopping it deletes its topics, so tests pause it to simulate an outage."""

    @property
    def emulator_host(self) -> str:
        """Return the value for the environment variable PUBSUB_EMULATOR_HOST."""
        return f"127.0.0.1:{self.port}"

    def url(self, topic: str, options: str = "") -> str:
        """Return a topic's URL."""
        return f"pubsub://{PROJECT}/{topic}{'?' if options else ''}{options}"


@contextmanager
def pubsub() -> Iterator[PubSub]:
    """Run the emulator on free ports; raises Missing if Java or the Google Cloud SDK's emulator is not installed.

    The emulator's jar is run directly, because the SDK's own wrapper leaves the server running when it ends.
    """
    port = free_port()
    options = ("--host=127.0.0.1", f"--port={port}", "--iam_host=127.0.0.1", f"--iam_port={free_port()}")
    command = [program("java"), *_JAVA_OPTIONS, "-jar", str(_jar()), *options]
    with TemporaryDirectory(prefix="pycalc-pubsub-") as folder:
        emulator = PubSub("the Pub/Sub emulator", command, port, Path(folder) / "log")
        try:
            emulator.start()
            _warm_up(emulator)
            yield emulator
        finally:
            emulator.kill()


def _warm_up(emulator: PubSub) -> None:
    """Make the first calls, because a new Java virtual machine may answer them slowly."""
    with grpc.insecure_channel(emulator.emulator_host) as channel:
        client = PublisherClient(transport=PublisherGrpcTransport(channel=channel))
        client.create_topic(name=f"projects/{PROJECT}/topics/warm-up", retry=None, timeout=60)
        client.publish(
            topic=f"projects/{PROJECT}/topics/warm-up", messages=[PubsubMessage(data=b"warm")], retry=None, timeout=60
        )


def _jar() -> Path:
    gcloud = [program("gcloud"), "info", "--format=value(installation.sdk_root)"]
    root = subprocess.run(gcloud, capture_output=True, text=True, timeout=60, check=True).stdout.strip()
    jars = sorted(Path(root, "platform", "pubsub-emulator", "lib").glob("cloud-pubsub-emulator-*-all.jar"))
    if not jars:
        raise Missing("the Google Cloud SDK has no Pub/Sub emulator")
    return jars[-1]
