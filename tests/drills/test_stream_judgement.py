"""Tests of the checks that stream drills make: each kind of fault is found in records that contain it."""

from __future__ import annotations

import json
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from drills.streams.scene import Scene, value_of
from drills.streams.topic_reader import Topic
from drills.support.load import Ledger
from tests.harness.servers import Server, free_port, running

IDS = [f"0199aab1-7c00-7123-8456-42661417400{digit}" for digit in range(4)]
ADA, BOB = "ada's id", "bob's id"


def topic_with(folder: Path, *deliveries: tuple[int, str]) -> Topic:
    """Return a topic with these deliveries; each is given as an event's number and its user."""
    file = folder / "topic"
    file.write_text("".join(f"{IDS[number]} {user}\n" for number, user in deliveries))
    return Topic(file)


class TestTopic:
    """The deliveries of a topic, in the order of their arrival."""

    def test_all_is_well(self, tmp_path: Path) -> None:
        """If each user's events arrive in order, there is no fault, however the users' events are interleaved."""
        topic = topic_with(tmp_path, (1, ADA), (0, BOB), (2, ADA), (3, BOB))
        assert list(topic.deliveries()) == [(IDS[1], ADA), (IDS[0], BOB), (IDS[2], ADA), (IDS[3], BOB)]
        assert (topic.missing(IDS), topic.repeated(), topic.overtaken()) == (0, 0, 0)

    def test_what_did_not_arrive_is_missing(self, tmp_path: Path) -> None:
        """An event that did not arrive is counted as missing once, even if its id is expected twice."""
        assert topic_with(tmp_path, (0, ADA), (3, ADA), (3, ADA)).missing([*IDS, IDS[1]]) == 2

    def test_what_arrives_again_is_repeated(self, tmp_path: Path) -> None:
        """A repeated delivery of an event is counted as repeated, but neither as missing nor as overtaken."""
        topic = topic_with(tmp_path, (0, ADA), (1, ADA), (0, ADA), (1, ADA), (1, ADA), (2, ADA), (3, ADA))
        assert (topic.missing(IDS), topic.repeated(), topic.overtaken()) == (0, 3, 0)

    def test_an_event_first_seen_after_a_later_one_is_overtaken(self, tmp_path: Path) -> None:
        """An event that first arrives after a later event of its user is overtaken, even if that one is repeated."""
        topic = topic_with(tmp_path, (0, ADA), (3, ADA), (1, ADA), (2, ADA), (3, ADA))
        assert (topic.missing(IDS), topic.repeated(), topic.overtaken()) == (0, 1, 2)

    def test_a_repetition_does_not_overtake(self, tmp_path: Path) -> None:
        """If a user's events arrive as 0, 2, 0, 1, only event 1 is overtaken: event 0 first arrived before event 2."""
        assert topic_with(tmp_path, (0, ADA), (2, ADA), (0, ADA), (1, ADA)).overtaken() == 1

    def test_half_a_line_is_no_delivery(self, tmp_path: Path) -> None:
        """An incomplete last line in the file of deliveries is ignored, because its writer has not finished."""
        topic = topic_with(tmp_path, (0, ADA))
        with (tmp_path / "topic").open("a") as file:
            file.write(IDS[1][:20])
        assert list(topic.deliveries()) == [(IDS[0], ADA)]


def calculation(number: int, **other: Any) -> dict[str, Any]:
    """Return a history item whose result has 3 digits and took 20 µs; ``other`` replaces some of its members."""
    made = {
        "id": IDS[number],
        "input": {"x": 1_000_000 + number},
        "created_at": "2026-03-01T12:00:00.000Z",
        "operation": "add",
        "cached": False,
        "digits": "3",
        "elapsed_ms": 0.02,
    }
    return made | other


def total(**other: Any) -> dict[str, Any]:
    """Return usage totals: 2 calculations, 1 cached, 6 digits, 40 µs; ``other`` replaces some of the members."""
    sums = {"day": "2026-03-01", "operation": "add", "count": 2, "cached": 1, "digits": "6", "compute_ms": 0.04}
    return sums | other


HISTORY = [calculation(0), calculation(1, cached=True)]
ANOTHER_DAY = "2026-03-02T00:00:00.000Z"


@pytest.fixture(scope="module")
def answers(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Return the folder that holds the server's answers."""
    return tmp_path_factory.mktemp("answers")


@pytest.fixture(scope="module")
def server(answers: Path) -> Iterator[Server]:
    """Run an HTTP server that answers with the files in the folder ``answers``."""
    port = free_port()
    command = [sys.executable, "-m", "http.server", str(port), "--bind", "127.0.0.1", "--directory", str(answers)]
    with running("a server of files", command, "/", port) as started:
        yield started


@pytest.fixture
def scene(server: Server, answers: Path, tmp_path: Path) -> Scene:
    """Return the scene at the end of a faultless drill: two calculations, answered, recorded, delivered and counted."""
    ledger = Ledger()
    for identity in IDS[:2]:
        exchange = ledger.ask()
        exchange.status, exchange.ids = 200, (identity,)
    answer(answers, HISTORY, [total()])
    topic, log = topic_with(tmp_path, (0, ADA), (1, ADA)), tmp_path / "log"
    return Scene(server, ["token"], topic, log, ledger=ledger, longest_wait=0.01, step_seconds=0.005)


def answer(answers: Path, history: list[dict[str, Any]], usage: list[dict[str, Any]]) -> None:
    """Set the server's answers for the history and the usage totals."""
    (answers / "secure-history").write_text(json.dumps({"items": history, "next_cursor": None}))
    (answers / "usage").write_text(json.dumps({"items": usage}))


def found(scene: Scene, *expected: str) -> dict[str, int | str]:
    """Return the scene's faults whose count is not zero, without the ``expected`` ones."""
    return {name: count for name, count in scene.faults(*expected).items() if count}


class TestTotals:
    """The comparison of usage totals with the history."""

    def test_all_is_well(self, scene: Scene) -> None:
        """If the usage totals equal the sums of the history, no user's totals are reported as wrong."""
        assert (scene.counted(), scene.miscounted()) == (2, 0)

    @pytest.mark.parametrize(
        ("history", "usage"),
        [
            pytest.param(HISTORY, [total(count=3)], id="counted twice"),
            pytest.param(HISTORY, [total(count=1)], id="not counted"),
            pytest.param(HISTORY, [], id="no totals"),
            pytest.param(HISTORY, [total(cached=0)], id="cached ones"),
            pytest.param(HISTORY, [total(digits="7")], id="digits"),
            pytest.param(HISTORY, [total(compute_ms=0.041)], id="time"),
            pytest.param(HISTORY, [total(operation="pow")], id="another operation"),
            pytest.param(HISTORY, [total(day="2026-03-02")], id="another day"),
            pytest.param(HISTORY, [total(), total(day="2026-03-02")], id="a day too many"),
            pytest.param([HISTORY[0], calculation(1, cached=True, created_at=ANOTHER_DAY)], [total()], id="two days"),
        ],
    )
    def test_totals_unlike_the_history(
        self, scene: Scene, answers: Path, history: list[dict[str, Any]], usage: list[dict[str, Any]]
    ) -> None:
        """Any difference between the usage totals and the history is a fault, even a difference of one digit."""
        answer(answers, history, usage)
        assert scene.miscounted() == 1


class TestFaults:
    """The faults that a drill reports at its end."""

    def test_all_is_well(self, scene: Scene) -> None:
        """If nothing was lost, repeated or late in a drill, its report has no faults."""
        assert found(scene) == {}

    def test_a_repetition_is_reported_and_no_fault(self, scene: Scene, tmp_path: Path) -> None:
        """An event that arrives twice is reported, but is no fault: the usage totals show if it was counted twice."""
        topic_with(tmp_path, (0, ADA), (1, ADA), (1, ADA))
        assert found(scene) == {}
        assert scene.repeated == 1

    @pytest.mark.parametrize(
        ("deliveries", "fault"),
        [
            pytest.param([(0, ADA)], "events_lost", id="lost"),
            pytest.param([(0, ADA), (1, ADA), (2, ADA)], "events_without_a_calculation", id="under another id"),
            pytest.param([(1, ADA), (0, ADA)], "events_overtaken", id="overtaken"),
        ],
    )
    def test_a_fault_of_the_topic(
        self, scene: Scene, tmp_path: Path, deliveries: list[tuple[int, str]], fault: str
    ) -> None:
        """A lost or overtaken event, or one without a calculation, is a fault, unless the drill expects this kind."""
        topic_with(tmp_path, *deliveries)
        assert found(scene) == {fault: 1}
        assert found(scene, fault) == {}

    def test_totals_that_differ(self, scene: Scene, answers: Path) -> None:
        """If a user's usage totals differ from the history, this is a fault."""
        answer(answers, HISTORY, [total(count=3)])
        assert found(scene) == {"totals_unlike_the_history": 1}

    def test_a_request_that_failed(self, scene: Scene) -> None:
        """If requests get an error status or no response, the report says how many, with which status and when."""
        first, _, refused, unanswered = *scene.ledger.exchanges, scene.ledger.ask(), scene.ledger.ask()
        refused.status = 503
        refused.sent, unanswered.sent = first.sent + 1.5, first.sent + 2.3
        assert found(scene) == {"failed_requests": "{503: 1, None: 1} at 1.5 to 2.3 s"}

    def test_a_calculation_that_is_not_in_the_history(self, scene: Scene, answers: Path) -> None:
        """An answered calculation that is missing from the history causes three kinds of faults in the report.

        They are a lost calculation, an event without a calculation, and usage totals unlike the history.
        """
        answer(answers, HISTORY[:1], [total()])
        assert found(scene) == {"lost": 1, "events_without_a_calculation": 1, "totals_unlike_the_history": 1}


def test_a_metric_that_can_not_be_read_has_no_value(server: Server, answers: Path) -> None:
    """The value of a metric is the sum of its samples, 0 without samples, or None if metrics can't be read."""
    metrics = answers / "metrics"
    metrics.write_text('waiting{worker="1"} 2\nwaiting{worker="2"} 3\n')
    assert [value_of(server, "waiting"), value_of(server, "waiting", worker="2"), value_of(server, "none")] == [5, 3, 0]
    metrics.unlink()
    assert value_of(server, "waiting") is None
