"""The queue for computation slots: bounded, fair between users, and without losing a slot."""

from __future__ import annotations

import asyncio
from itertools import zip_longest

import pytest

from pycalc.errors import Overloaded
from pycalc.observability.metrics import Metrics
from pycalc.services.compute.admission import Admission
from tests.harness.waiting import DEADLINE_SECONDS, until

pytestmark = pytest.mark.anyio

ADA, BOB, EVE = b"ada", b"bob", b"eve"


class Visitor:
    """A task that takes a slot and holds it until the test ends it."""

    def __init__(self, admission: Admission, user: bytes, key: str | None = None) -> None:
        self.inside = False
        self.leave = asyncio.Event()
        self.task = asyncio.create_task(self._visit(admission, user, key))

    async def _visit(self, admission: Admission, user: bytes, key: str | None) -> None:
        async with admission.slot(user, key):
            self.inside = True
            await self.leave.wait()

    async def left(self) -> None:
        """Leave, and wait until the slot is released."""
        self.leave.set()
        await self.task


async def empty(visitors: list[Visitor]) -> None:
    """Let all visitors leave, in whatever order they are admitted."""
    for visitor in visitors:
        visitor.leave.set()
    await asyncio.gather(*(visitor.task for visitor in visitors))


async def settle() -> None:
    """Let every task run until it waits."""
    for _ in range(5):
        await asyncio.sleep(0)


async def arrive(admission: Admission, *users: bytes, keys: str = "") -> list[Visitor]:
    """Let one visitor of each of these users arrive, in this order.

    ``keys`` has a letter for each visitor, which names the computation that the visitor requests, or is empty.
    """
    visitors = []
    for user, key in zip_longest(users, keys):
        visitors.append(Visitor(admission, user, key))
        await settle()
    return visitors


async def order_of(holder: Visitor, waiting: dict[str, Visitor]) -> str:
    """Release the only slot until all waiting visitors have had it; return their order."""
    order, left = "", dict(waiting)
    while left:
        await holder.left()
        await settle()
        name, holder = next((name, visitor) for name, visitor in left.items() if visitor.inside)
        order += name
        del left[name]
    await holder.left()
    return order


async def test_one_user_never_holds_the_last_of_two_slots() -> None:
    """If there are two slots, one user gets only one, however many requests that user has."""
    admission = Admission(Metrics(), 2)
    first, second, bob = await arrive(admission, ADA, ADA, BOB)
    assert (first.inside, second.inside, bob.inside) == (True, False, True)
    assert (admission.running, admission.waiting) == (2, 1)
    await bob.left()
    await settle()
    assert not second.inside
    await first.left()
    await settle()
    assert second.inside
    await second.left()
    assert (admission.running, admission.waiting) == (0, 0)


async def test_one_user_holds_all_but_one_of_many_slots() -> None:
    """If there are four slots, one user gets at most three."""
    admission = Admission(Metrics(), 4)
    visitors = await arrive(admission, *[ADA] * 5)
    assert [visitor.inside for visitor in visitors] == [True, True, True, False, False]
    (bob,) = await arrive(admission, BOB)
    assert bob.inside
    await empty([*visitors, bob])


async def test_a_single_slot_is_open_to_every_user() -> None:
    """If there is only one slot, a single user may take it."""
    admission = Admission(Metrics(), 1)
    (ada,) = await arrive(admission, ADA)
    assert ada.inside
    await ada.left()


async def test_a_user_without_a_slot_is_next() -> None:
    """If two users hold every slot and wait for more, a third user gets the first slot that is released."""
    admission = Admission(Metrics(), 2)
    ada, bob, *queue = await arrive(admission, ADA, BOB, ADA, ADA, BOB, BOB)
    (eve,) = await arrive(admission, EVE)
    await ada.left()
    await settle()
    assert eve.inside
    await empty([bob, *queue, eve])


async def test_repeated_requests_alternate_with_queued_ones() -> None:
    """A user who asks again after each answer alternates with a user who asked for everything at once."""
    admission = Admission(Metrics(), 1)
    ada, *queue = await arrive(admission, ADA, ADA, ADA, ADA)
    served = []
    (eve,) = await arrive(admission, EVE)
    current = ada
    for _ in range(4):
        await current.left()
        await settle()
        if eve.inside:
            current = eve
            served.append("eve")
            (eve,) = await arrive(admission, EVE)
        else:
            current = next(visitor for visitor in queue if visitor.inside and not visitor.task.done())
            served.append("ada")
    assert served == ["eve", "ada", "eve", "ada"]
    await empty([current, *queue, eve])


async def test_users_take_turns() -> None:
    """Slots go to the waiting users in turn, so that nobody waits behind another user's whole queue.

    Of one user's requests, the oldest is first.
    """
    admission = Admission(Metrics(), 1)
    holder, *waiting = await arrive(admission, EVE, ADA, ADA, ADA, BOB)
    order = []
    current = holder
    while waiting:
        await current.left()
        await settle()
        current = next(visitor for visitor in waiting if visitor.inside)
        order.append(waiting.index(current))
        waiting.remove(current)
    await current.left()
    # The order for [ADA, ADA, ADA, BOB] is: Ada's first, Bob's, the rest of Ada's.
    assert order == [0, 2, 0, 0]


async def test_the_queue_is_bounded_for_all() -> None:
    """If the queue is full, a request that may displace no other is refused at once, with a Retry-After of 5 s."""
    admission = Admission(Metrics(), 1, max_waiting=4)
    visitors = await arrive(admission, EVE, EVE, ADA, ADA, BOB)
    with pytest.raises(Overloaded) as refusal:
        async with admission.slot(BOB):
            pass
    assert refusal.value.retry_after == 5
    assert admission.waiting == 4
    await empty(visitors)
    assert (admission.running, admission.waiting) == (0, 0)


async def test_a_full_queue_displaces_the_newest_request_of_the_greediest_user() -> None:
    """A full queue drops the newest request of the user with the most waiting or, in a tie, the most running ones."""
    admission = Admission(Metrics(), 1, max_waiting=4)
    holder, *waiting = await arrive(admission, BOB, ADA, ADA, BOB, BOB)
    (eve,) = await arrive(admission, EVE)
    with pytest.raises(Overloaded) as refusal:
        await waiting[3].task  # Bob has as many requests waiting as Ada, and also one that runs.
    assert refusal.value.retry_after == 5
    assert [visitor.task.done() for visitor in (*waiting[:3], eve)] == [False] * 4
    assert admission.waiting == 4
    await empty([holder, *waiting[:3], eve])
    assert (admission.running, admission.waiting) == (0, 0)


async def test_a_full_queue_displaces_no_user_with_as_few_requests() -> None:
    """In a full queue, a new user's request displaces one of a user who also has a running request.

    It does not displace the only request of another user.
    """
    admission = Admission(Metrics(), 2, max_waiting=2)
    ada, bob, *displaced = await arrive(admission, ADA, BOB, ADA, BOB)
    eve, ida = await arrive(admission, EVE, b"ida")
    for visitor in displaced:
        with pytest.raises(Overloaded):
            await visitor.task
    assert (eve.task.done(), ida.task.done()) == (False, False)
    with pytest.raises(Overloaded):
        async with admission.slot(b"uma"):
            pass
    await empty([ada, bob, eve, ida])


async def test_refusals_are_counted_by_their_reason() -> None:
    """Refusals are counted by reason: full queue, displaced by another user's request, or too long a wait."""
    metrics = Metrics()
    admission = Admission(metrics, 1, max_waiting=2, max_wait=0.05)
    holder, *refused = await arrive(admission, ADA, ADA, BOB, EVE)
    with pytest.raises(Overloaded):
        async with admission.slot(ADA):
            pass

    def counted() -> list[float | None]:
        value = metrics.registry.get_sample_value
        reasons = ("queue", "displaced", "wait")
        return [value("pycalc_compute_refused_total", {"reason": reason}) for reason in reasons]

    outcomes = await asyncio.gather(*(visitor.task for visitor in refused), return_exceptions=True)
    assert [type(outcome) for outcome in outcomes] == [Overloaded] * 3
    assert admission.waiting == 0
    assert counted() == [1, 1, 2]
    await holder.left()


async def test_one_user_fills_no_more_than_half_of_the_queue() -> None:
    """A user who fills half of the queue is refused, while other users may still wait."""
    admission = Admission(Metrics(), 1, max_waiting=4)
    visitors = await arrive(admission, EVE, ADA, ADA)
    with pytest.raises(Overloaded):
        async with admission.slot(ADA):
            pass
    visitors += await arrive(admission, BOB)
    assert admission.waiting == 3
    await empty(visitors)


async def test_a_wait_has_an_end() -> None:
    """A request that has waited ``max_wait`` is refused, and leaves the queue."""
    admission = Admission(Metrics(), 1, max_wait=0.02)
    (holder,) = await arrive(admission, EVE)
    with pytest.raises(Overloaded):
        async with admission.slot(ADA):
            pass
    assert admission.waiting == 0
    await holder.left()
    (later,) = await arrive(admission, ADA)
    assert later.inside
    await later.left()


async def test_a_cancelled_request_leaves_the_queue() -> None:
    """A request that is cancelled while it waits does not block the slot for others."""
    admission = Admission(Metrics(), 1)
    holder, quitter, bob = await arrive(admission, EVE, ADA, BOB)
    quitter.task.cancel()
    await asyncio.wait({quitter.task})
    assert admission.waiting == 1
    await holder.left()
    await settle()
    assert bob.inside
    await bob.left()
    assert (admission.running, admission.waiting) == (0, 0)


async def test_a_slot_granted_to_a_cancelled_request_is_not_lost() -> None:
    """If a slot is granted to a request that is cancelled in the same loop iteration, the next request gets it."""
    admission = Admission(Metrics(), 1)
    holder, quitter, bob = await arrive(admission, EVE, ADA, BOB)
    holder.leave.set()
    while admission.waiting == 2:  # noqa: ASYNC110  # until the moment in which the slot is granted
        await asyncio.sleep(0)
    quitter.task.cancel()
    await asyncio.wait({quitter.task})
    await settle()
    assert not quitter.inside
    assert bob.inside
    await bob.left()
    assert (admission.running, admission.waiting) == (0, 0)


async def test_a_slot_released_while_its_waiter_leaves_is_not_lost() -> None:
    """If a slot is released while its cancelled waiter has not run yet, the next caller gets the slot."""
    admission = Admission(Metrics(), 1)
    holder = admission.slot(ADA)
    await holder.__aenter__()
    waiter = asyncio.create_task(admission.slot(BOB).__aenter__())
    await until(lambda: admission.waiting == 1, "a request waits")
    waiter.cancel()
    await holder.__aexit__(None, None, None)
    await asyncio.wait({waiter})
    async with asyncio.timeout(DEADLINE_SECONDS), admission.slot(ADA):
        assert (admission.running, admission.waiting) == (1, 0)


@pytest.mark.parametrize("early", [True, False])
async def test_a_computation_waits_for_the_first_turn_of_any_user_who_wants_it(early: bool) -> None:
    """A computation that several users want is next as soon as it is the turn of one of them.

    Bob, who has no other request, wants the last of Ada's computations. It is therefore served first.
    """
    admission = Admission(Metrics(), 1)
    (holder,) = await arrive(admission, ADA)
    if early:
        with admission.wanted("c", BOB):
            waiting = await arrive(admission, *[ADA] * 3, keys="abc")
            assert await order_of(holder, dict(zip("abc", waiting, strict=True))) == "cab"
    else:
        waiting = await arrive(admission, *[ADA] * 3, keys="abc")
        with admission.wanted("c", BOB):
            assert await order_of(holder, dict(zip("abc", waiting, strict=True))) == "cab"
    assert (admission.running, admission.waiting) == (0, 0)


async def test_a_computation_has_no_turn_of_a_user_who_no_longer_wants_it() -> None:
    """If Bob no longer wants any of Ada's computations, Ada's requests are served in their order."""
    admission = Admission(Metrics(), 1)
    holder, *waiting = await arrive(admission, *[ADA] * 4, keys="habc")
    with admission.wanted("d", BOB):
        with admission.wanted("c", BOB), admission.wanted("c", BOB):
            pass
        assert await order_of(holder, dict(zip("abc", waiting, strict=True))) == "abc"
    assert (admission.running, admission.waiting) == (0, 0)


async def test_a_computation_stays_if_only_its_requester_no_longer_wants_it() -> None:
    """A computation that its requester no longer wants waits for the turn of another user who wants it."""
    admission = Admission(Metrics(), 1)
    (holder,) = await arrive(admission, EVE)
    with admission.wanted("a", BOB):
        with admission.wanted("a", ADA):
            first, second = await arrive(admission, ADA, ADA, keys="ab")
        assert await order_of(holder, {"a": first, "b": second}) == "ba"


async def test_a_free_slot_that_is_closed_to_the_requester_is_open_to_another_user() -> None:
    """A computation whose user may not take the last free slot begins as soon as another user wants it.

    It then counts towards the slots of the other user.
    """
    admission = Admission(Metrics(), 2)
    first, second = await arrive(admission, ADA, ADA, keys="ab")
    assert (first.inside, second.inside) == (True, False)
    with admission.wanted("b", BOB):
        await settle()
        assert second.inside
        (third,) = await arrive(admission, BOB)
        await first.left()
        await settle()
        assert not third.inside
    await empty([second, third])
    assert (admission.running, admission.waiting) == (0, 0)


async def test_requests_with_the_same_key_do_not_disturb_each_other() -> None:
    """Two requests for the same computation get their slots one after the other."""
    admission = Admission(Metrics(), 1)
    holder, first, second = await arrive(admission, EVE, ADA, ADA, keys="eaa")
    assert await order_of(holder, {"1": first, "2": second}) == "12"
    assert (admission.running, admission.waiting) == (0, 0)


async def test_nobody_is_displaced_because_a_greedy_user_wants_the_same() -> None:
    """If the greediest user wants Ada's computation too, a full queue does not drop Ada's request for that reason."""
    admission = Admission(Metrics(), 1, 4)
    holder, own, ada, bob = await arrive(admission, EVE, EVE, ADA, BOB, keys="hoab")
    with admission.wanted("a", EVE):
        assert admission.waiting == 4
        (dan,) = await arrive(admission, b"dan")
        assert admission.waiting == 4
        assert not own.task.done()
        (zoe,) = await arrive(admission, b"zoe")
        with pytest.raises(Overloaded, match="most of them are yours"):
            await own.task
        assert await order_of(holder, {"a": ada, "b": bob, "d": dan, "z": zoe}) == "abdz"
    assert (admission.running, admission.waiting) == (0, 0)


async def test_who_wants_a_greedy_users_newest_computation_in_a_full_queue_may_request_it() -> None:
    """In a full queue, the greediest user's newest request is displaced even if Bob wants the same computation.

    Then the queue has room for Bob's own request of it.
    """
    admission = Admission(Metrics(), 1, 4)
    holder, kept, newest, *others = await arrive(admission, EVE, EVE, EVE, ADA, b"dan", keys="hkn")
    with admission.wanted("n", BOB):
        with pytest.raises(Overloaded, match="most of them are yours"):
            await newest.task
        (bob,) = await arrive(admission, BOB, keys="n")
    assert await order_of(holder, {"k": kept, "a": others[0], "d": others[1], "b": bob}) == "adbk"
    assert (admission.running, admission.waiting) == (0, 0)


async def test_without_room_a_user_waits_for_the_request_of_another() -> None:
    """If the queue has no room for Bob, who wants Ada's computation too, the computation waits for Ada's turn."""
    admission = Admission(Metrics(), 1, 4)
    holder, *waiting = await arrive(admission, EVE, BOB, BOB, ADA, ADA, keys="hstab")
    with admission.wanted("b", BOB):
        assert admission.waiting == 4
        assert await order_of(holder, dict(zip("stab", waiting, strict=True))) == "satb"
