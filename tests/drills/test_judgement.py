"""Tests of the checks that drills make: each kind of fault is found in a history or trace that contains it."""

from __future__ import annotations

import json

import pytest

from drills.support.connection import Answer
from drills.support.finding import Finding, faults
from drills.support.history import Row, Verdict, compare
from drills.support.load import Exchange, Ledger
from drills.syncing import calls, order_of
from drills.timing import area

GOOD = Verdict(lost=0, doubled=0, phantom=0, refused_but_there=0, torn=0)


def answer(status: int, body: object) -> Answer:
    """Return an answer with this status and body."""
    return Answer(status, b"HTTP/1.1 %d X\r\nRetry-After: 1\r\n\r\n" % status, json.dumps(body).encode(), 0.01)


def calculation(exchange: Exchange) -> dict[str, object]:
    """Return a made-up answer to a request for one calculation. The id in the answer contains the operand."""
    (operand,) = exchange.operands
    return {"id": f"id-{operand}", "input": {"x": operand, "y": 1}}


def answered(ledger: Ledger) -> Exchange:
    """Record a request and its answer 200 in the ledger, and return the request."""
    exchange = ledger.ask()
    ledger.settle(exchange, answer(200, calculation(exchange)))
    return exchange


def row(exchange: Exchange) -> Row:
    """Return the row that a request leaves in the history."""
    return Row(f"id-{exchange.operands[0]}", exchange.operands[0])


class TestHistory:
    """The comparison of requests and answers with the history."""

    def test_all_is_well(self) -> None:
        """No fault is reported if the history has each answered calculation and no refused one.

        A calculation whose request got no answer may be in the history or not.
        """
        ledger = Ledger()
        kept, refused, cut, nothing = answered(ledger), ledger.ask(), ledger.ask(), ledger.ask()
        ledger.settle(refused, answer(503, {"detail": "The database is not available."}))
        assert compare(ledger, [row(kept), row(cut)]) == GOOD
        assert nothing.status is None
        assert refused.retry_after == "1"

    def test_an_answered_calculation_that_is_not_there_is_lost(self) -> None:
        """An answered calculation that is not in the history is reported as lost."""
        ledger = Ledger()
        answered(ledger)
        assert compare(ledger, [row(answered(ledger))]) == GOOD._replace(lost=1)

    def test_a_calculation_that_is_there_twice(self) -> None:
        """A calculation that the history contains again under another id is reported as a duplicate."""
        ledger = Ledger()
        once = answered(ledger)
        assert compare(ledger, [row(once), Row("another", once.operands[0])]) == GOOD._replace(doubled=1)

    def test_a_row_that_nobody_asked_for_is_a_phantom(self) -> None:
        """A row of the history with an operand that nobody requested is reported as a phantom."""
        assert compare(Ledger(), [Row("id", 7)]) == GOOD._replace(phantom=1)

    @pytest.mark.parametrize(("detail", "found"), [("The queue is full.", 1), ("It is not known whether.", 0)])
    def test_a_refusal_must_be_true_unless_it_says_that_it_does_not_know(self, detail: str, found: int) -> None:
        """A history row of a calculation that got 503 is a fault, unless the 503 said that the outcome is unknown."""
        ledger = Ledger()
        refused = ledger.ask()
        ledger.settle(refused, answer(503, {"detail": detail}))
        assert compare(ledger, [row(refused)]) == GOOD._replace(refused_but_there=found)

    def test_a_batch_is_there_whole_or_not_at_all(self) -> None:
        """If the history has only two of a batch's three calculations, this is reported as a fault."""
        ledger = Ledger()
        batch = ledger.ask(3)
        rows = [Row(f"id-{operand}", operand) for operand in batch.operands]
        assert compare(ledger, rows) == GOOD
        assert compare(ledger, rows[:2]) == GOOD._replace(torn=1)

    def test_an_answer_to_somebody_elses_request_is_noticed(self) -> None:
        """An answer that contains the operand of another request raises ValueError."""
        ledger = Ledger()
        mine, yours = ledger.ask(), ledger.ask()
        with pytest.raises(ValueError, match="was answered with"):
            ledger.settle(mine, answer(200, calculation(yours)))


IDENTITY = "0199aab1-7c00-7123-8456-426614174000"
FILE = "".join(f"\\x{byte:02x}" for byte in b"/data/pycalc.db-wal")
ROW = "".join(f"\\x{byte:02x}" for byte in bytes.fromhex(IDENTITY.replace("-", "")))
ANSWER = "".join(f"\\x{byte:02x}" for byte in f'HTTP/1.1 200 OK\r\n\r\n{{"id":"{IDENTITY}"}}'.encode())
WRITE = f'7 1.000000 pwrite64(5<{FILE}>, "\\x00{ROW}\\x00", 18, 0) = 18 <0.000100>'
SYNC = f"7 2.000000 fdatasync(5<{FILE}>) = 0 <0.500000>"
SENT = f'8 3.000000 writev(9<\\x73>, [{{iov_base="{ANSWER}", iov_len=3}}], 1) = 3 <0.000100>'


def test_the_area_is_a_half_for_interleaved_times() -> None:
    """The area under the ROC curve of two samples is 1/2 if their times interleave, and 1 if they do not overlap."""
    assert area([1, 4], [2, 3]) == 0.5
    assert area([1, 2, 3], [4, 5, 6]) == area([4, 5, 6], [1, 2, 3]) == 1


class TestTrace:
    """The check of recorded system calls, in the form that strace prints."""

    def test_write_sync_answer(self) -> None:
        """An answer that is sent after its history row was written and synced is not counted as early."""
        order = order_of(list(calls([WRITE, SYNC, SENT])))
        assert (order.answers, order.early, order.syncs) == (1, 0, 1)
        assert order.nearest == pytest.approx(0.5)

    def test_a_call_that_another_interrupts_ends_with_its_second_line(self) -> None:
        """If strace prints a sync on two lines, an answer between these lines counts as sent before the sync."""
        lines = [
            WRITE,
            f"7 2.000000 fdatasync(5<{FILE}> <unfinished ...>",
            SENT,
            "7 3.500000 <... fdatasync resumed>) = 0 <1.500000>",
        ]
        assert order_of(list(calls(lines))).early == 1

    @pytest.mark.parametrize(
        "lines",
        [
            pytest.param([WRITE, SENT], id="no sync"),
            pytest.param([SYNC.replace("2.000000", "0.100000"), WRITE, SENT], id="a sync before the write"),
            pytest.param([WRITE, SYNC.replace("= 0", "= -1 EIO (Input/output error)"), SENT], id="a failed sync"),
            pytest.param([SYNC, SENT], id="no write"),
        ],
    )
    def test_an_answer_without_its_sync_is_early(self, lines: list[str]) -> None:
        """An answer is early if no successful sync lies between the write of its history row and the answer."""
        order = order_of(list(calls(lines)))
        assert (order.answers, order.early) == (1, 1)


def test_a_finding_is_one_line_with_its_faults() -> None:
    """A drill's result is one line; it lists the kinds of faults whose count is not zero."""
    finding = Finding("drill", "something was done", {"requests": 3}, faults(lost=0, too_slow=True, other=""))
    assert not finding.passed
    assert str(finding) == "FAIL  drill: something was done; requests 3; FAULTS: too slow True"
    assert str(Finding("drill", "something was done", {}, faults(lost=0))) == "PASS  drill: something was done"
