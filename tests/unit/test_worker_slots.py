"""A worker's slots: the higher priority first, jobs in turns, and none is ever lost."""

import asyncio
from collections.abc import Awaitable, Callable, Sequence

from hypothesis import example, given
from hypothesis import strategies as st

from fanfold.contract.names import JobId
from fanfold.workers.worker_slots import WorkerSlots

A, B, C = JobId("job_a"), JobId("job_b"), JobId("job_c")


async def settled() -> None:
    """All that can go on has gone on."""
    for _ in range(5):
        await asyncio.sleep(0)


class Lanes:
    """Lanes that wait for a slot; who was given one, in order."""

    def __init__(self, slots: WorkerSlots) -> None:
        self.slots = slots
        self.given: list[str] = []
        self.tasks: list[asyncio.Task[None]] = []

    async def start(self, *wanted: tuple[str, int]) -> None:
        for name, priority in wanted:
            self.tasks.append(asyncio.create_task(self._take(name, priority)))
            await settled()

    async def _take(self, name: str, priority: int) -> None:
        await self.slots.take(JobId(name), priority)
        self.given.append(name)

    async def give_back(self, times: int) -> list[str]:
        """Who gets these slots."""
        before = len(self.given)
        for _ in range(times):
            self.slots.give_back()
            await settled()
        return self.given[before:]


def in_order(count: int, wanted: Sequence[tuple[str, int]]) -> list[str]:
    """Who gets a slot, one after another, once all that there are were taken."""

    async def run() -> list[str]:
        slots = WorkerSlots(count)
        for _ in range(count):
            await slots.take(JobId("job_first"), 3)
        lanes = Lanes(slots)
        await lanes.start(*wanted)
        assert lanes.given == []
        return await lanes.give_back(len(wanted))

    return asyncio.run(run())


def test_so_many_lanes_run_at_a_time() -> None:
    async def run() -> None:
        lanes = Lanes(WorkerSlots(2))
        await lanes.start(("a", 3), ("a", 3), ("a", 3))
        assert lanes.given == ["a", "a"]
        assert lanes.slots.is_contended
        await lanes.give_back(1)
        assert lanes.given == ["a", "a", "a"]
        assert not lanes.slots.is_contended

    asyncio.run(run())


def test_the_higher_priority_goes_first_however_late_it_comes() -> None:
    wanted = [("c", 5), ("c", 5), ("b", 3), ("a", 1), ("b", 3)]
    assert in_order(2, wanted) == ["a", "b", "b", "c", "c"]


def test_jobs_with_the_same_priority_take_turns_however_many_of_their_lanes_wait() -> None:
    wanted = [("a", 3)] * 4 + [("b", 3)] * 2 + [("c", 3)]
    assert in_order(1, wanted) == ["a", "b", "c", "a", "b", "a", "a"]


def test_lanes_of_a_job_go_in_the_order_in_which_they_came() -> None:
    async def run() -> None:
        slots, given = WorkerSlots(0), []

        async def take(number: int) -> None:
            await slots.take(A, 3)
            given.append(number)

        async with asyncio.TaskGroup() as group:
            for number in range(3):
                group.create_task(take(number))
            await settled()
            for _ in range(3):
                slots.give_back()
        assert given == [0, 1, 2]

    asyncio.run(run())


async def _cancelled_then_given(lanes: Lanes) -> None:
    lanes.tasks[0].cancel()
    lanes.slots.give_back()


async def _given_then_cancelled(lanes: Lanes) -> None:
    lanes.slots.give_back()
    lanes.tasks[0].cancel()


async def _cancelled_long_before(lanes: Lanes) -> None:
    lanes.tasks[0].cancel()
    await settled()
    lanes.slots.give_back()


def test_a_slot_for_a_lane_that_is_cancelled_at_that_moment_goes_to_the_next() -> None:
    moments: list[Callable[[Lanes], Awaitable[None]]] = [
        _cancelled_then_given,
        _given_then_cancelled,
        _cancelled_long_before,
    ]

    async def run(moment: Callable[[Lanes], Awaitable[None]]) -> None:
        lanes = Lanes(WorkerSlots(0))
        await lanes.start(("a", 3), ("b", 3))
        await moment(lanes)
        await settled()
        assert lanes.tasks[0].cancelled()
        assert lanes.given == ["b"]
        assert not lanes.slots.is_contended
        # And it is one slot still.
        await lanes.give_back(1)
        await lanes.start(("a", 3), ("a", 3))
        assert lanes.given == ["b", "a"]

    for moment in moments:
        asyncio.run(run(moment))


Action = tuple[str, JobId | int, int]

actions = st.lists(
    st.one_of(
        st.tuples(st.just("take"), st.sampled_from([A, B, C]), st.integers(1, 3)),
        st.tuples(st.just("give back"), st.integers(0, 9), st.booleans()),
        st.tuples(st.just("cancel"), st.integers(0, 9), st.booleans()),
    ),
    max_size=40,
)


@given(count=st.integers(1, 3), actions=actions)
@example(
    count=1,
    actions=[
        *[("take", A, 3)] * 3,
        ("cancel", 1, False),
        ("give back", 0, False),
        ("cancel", 0, True),
    ],
)
def test_no_slot_is_lost_or_given_twice(count: int, actions: Sequence[Action]) -> None:
    """Taken, given back and cancelled in any order, also before anybody has heard of it."""

    async def run() -> None:
        slots = WorkerSlots(count)
        lanes = Lanes(slots)
        given_back = 0
        for what, which, other in actions:
            if what == "take":
                await lanes.start((str(which), other))
            elif what == "give back" and len(lanes.given) > given_back:
                given_back += 1
                slots.give_back()
            elif what == "cancel" and lanes.tasks:
                lanes.tasks[int(which) % len(lanes.tasks)].cancel()
            if other:
                await settled()
            assert len(lanes.given) - given_back <= count
        await settled()
        held = len(lanes.given) - given_back
        still_waiting = [task for task in lanes.tasks if not task.done()]
        assert slots.is_contended == bool(still_waiting)
        assert not still_waiting or held == count
        for task in still_waiting:
            task.cancel()
        await settled()
        assert all(task.cancelled() or task.exception() is None for task in lanes.tasks)
        # All that nobody holds can be taken at once.
        async with asyncio.timeout(10):
            for _ in range(count - held):
                await slots.take(A, 3)
        assert not slots.is_contended

    asyncio.run(run())
