"""Lives of a job for the property tests: everything that may happen to it, in any order."""

from collections import defaultdict
from collections.abc import Awaitable, Callable
from dataclasses import dataclass, field, replace
from typing import ParamSpec

from hypothesis import strategies as st

from fanfold.contract.names import JobId
from fanfold.contract.states import JobState
from fanfold.ledger import outcomes
from fanfold.ledger.connect import Ledger
from fanfold.ledger.outcomes import Script
from fanfold.ledger.records import Attempt, BlockRun, ChunkOutput, ChunkRecord, ItemError, JobRecord
from tests.ledger.jobs_recorded import BROKEN, a_spec, found, new_token, ours, running

SIZES = (1, 2, 3)
STAGES = 2

Step = tuple[str, int]
Given = ParamSpec("Given")

steps = st.lists(
    st.tuples(
        st.sampled_from(
            # Beginning comes first and often, or little else could happen.
            ["begin", "claim"] * 4
            + ["succeed", "fail", "give up", "put off", "hand back", "advance"] * 2
            + ["repeat"] * 8
            + ["take over", "offer again", "lose", "cancel", "settle", "close"]
        ),
        st.integers(0, 30),
    ),
    max_size=30,
)

_EVERYTHING = (
    "SELECT * FROM chunks WHERE job_id = ? ORDER BY idx",
    "SELECT idx, body, item_errors FROM results WHERE job_id = ? ORDER BY idx",
    "SELECT idx, stage, body FROM inputs WHERE job_id = ? ORDER BY idx, stage",
    "SELECT block, number FROM block_runs WHERE job_id = ? ORDER BY block, number",
    "SELECT state, revision, finished_at, summary FROM jobs WHERE id = ?",
)


@dataclass(frozen=True)
class Place:
    """Where a chunk stands."""

    state: str
    fence: int
    token: int | None
    attempts: int

    def holds(self, attempt: Attempt) -> bool:
        return self.state == "running" and self.fence == attempt.fence


@dataclass
class Write:
    """Something that was written, to be written again at a later time."""

    again: Callable[[], Awaitable[object]]
    changes_nothing: Callable[[dict[int, Place]], bool]
    """Whether it has to be without effect, as the chunks stand now."""


@dataclass
class Life:
    """A job of three chunks in two stages, and everything that was ever written of it."""

    ledger: Ledger
    job_id: JobId
    attempts: list[Attempt] = field(default_factory=list)
    written: list[Write] = field(default_factory=list)
    counted: dict[tuple[int, int], set[int]] = field(default_factory=lambda: defaultdict(set))
    """By chunk and stage, the fences of the attempts that count."""

    @classmethod
    async def new(cls, ledger: Ledger) -> "Life":
        return cls(ledger, await running(ledger, SIZES, spec=a_spec(stages=STAGES)))

    async def step(self, what: str, number: int) -> None:
        index = number % len(SIZES)
        run = BlockRun(block=number % 2, number=1 + number % 3)
        steps: dict[str, Callable[[], Awaitable[None]]] = {
            "begin": lambda: self._begin(index, number % STAGES),
            "claim": lambda: self._claim(run),
            "repeat": lambda: self._repeat_one(number),
            "take over": lambda: self._write(ours(self.ledger).work.take_over, self.job_id, run),
            "offer again": self._offer_again,
            "lose": lambda: self._write(
                ours(self.ledger).work.record_lost, self.job_id, index, BROKEN
            ),
            "cancel": lambda: self._write(ours(self.ledger).jobs.request_cancel, self.job_id),
            "settle": lambda: self._write(ours(self.ledger).closing.settle, self.job_id),
            "close": lambda: self._close(number),
        }
        if what in steps:
            await steps[what]()
        elif self.attempts:
            await self._end(what, self.attempts.pop(number % len(self.attempts)), number)

    async def end(self) -> JobRecord:
        """Bring the job to its end, whatever has happened."""
        await self.step("settle", 0)
        await self.step("close", 0)
        return await found(self.ledger, self.job_id)

    # --- what may happen --------------------------------------------------------------

    async def _begin(self, index: int, stage: int) -> None:
        token = new_token()

        async def begin() -> Attempt | None:
            before = await self.places()
            begun = await ours(self.ledger).work.begin(self.job_id, index, stage, token=token)
            return self._noted(begun, before) if isinstance(begun, Attempt) else None

        if (first := await begin()) is not None:
            self.attempts.append(first)
            self.written.append(Write(begin, lambda places: places[index].token == token))

    async def _claim(self, run: BlockRun) -> None:
        token = new_token()

        async def claim() -> Attempt | None:
            before = await self.places()
            claimed = await ours(self.ledger).work.claim(self.job_id, run, token=token)
            return self._noted(claimed, before) if claimed is not None else None

        if (first := await claim()) is not None:
            self.attempts.append(first)
            # Once that attempt has ended it is the claim of another chunk.
            self.written.append(Write(claim, lambda places: places[first.index].holds(first)))

    def _noted(self, begun: Attempt, before: dict[int, Place]) -> Attempt:
        counted = self.counted[begun.index, begun.stage]
        if begun.fence > before[begun.index].fence:
            counted.add(begun.fence)
        assert begun.fence in counted
        assert begun.number == len(counted)
        return begun

    async def _close(self, number: int) -> None:
        end = [JobState.SUCCEEDED, JobState.FAILED, JobState.CANCELLED][number % 3]

        async def close() -> bool:
            return await ours(self.ledger).closing.close(
                self.job_id, end, error=None, result=b"%d" % number
            )

        if await close():
            self.written.append(Write(close, lambda _: True))

    async def _repeat_one(self, number: int) -> None:
        if self.written:
            await self.repeat(self.written[number % len(self.written)])

    async def _offer_again(self) -> None:
        async def offer_again() -> None:
            for index, place in (await self.places()).items():
                if place.state == "running":
                    self._uncount(index, place.fence)
            await ours(self.ledger).work.offer_again(self.job_id)

        await offer_again()
        # Again means: what was begun since is taken back as well.
        self.written.append(
            Write(
                offer_again,
                lambda places: all(place.state != "running" for place in places.values()),
            )
        )

    async def _end(self, what: str, attempt: Attempt, number: int) -> None:
        """The last thing that a worker does with its attempt, be it current or long stale."""
        errors = self._errors(attempt, number)
        output = ChunkOutput(body=b"[%d]" % number, item_errors=errors, by_item=True)
        if what == "succeed":
            script = outcomes.succeeded(attempt, output)
            if not all(error.is_dropped for error in errors):
                script = outcomes.succeeded_partially(attempt, BROKEN, output)
        elif what == "fail":
            script = outcomes.failed(attempt, BROKEN, output)
        elif what == "give up" and attempt.number > 1:
            script = outcomes.failed(replace(attempt, is_one_too_many=True), BROKEN, output)
        elif what == "put off":
            script = outcomes.put_off(attempt, BROKEN, output, seconds=5 * (number % 2))
        elif what == "advance" and attempt.stage < STAGES - 1:
            script = outcomes.advanced(attempt, output)
        else:
            what, script = "hand back", outcomes.handed_back(attempt)
        await self._record(script, attempt, does_count=what not in {"give up", "hand back"})

    def _errors(self, attempt: Attempt, number: int) -> tuple[ItemError, ...]:
        """Those of earlier stages, and of some of the items that were left."""
        gone = {error.item for error in attempt.earlier_errors}
        left = [item for item in range(attempt.item_count) if item not in gone]
        here = tuple(
            ItemError(
                item=item,
                type="T",
                message=str(number),
                stage=attempt.stage,
                is_dropped=number % 3 == 0,
            )
            for item in left[: number % (len(left) + 1)]
        )
        return attempt.earlier_errors + here

    async def _record(self, script: Script, attempt: Attempt, *, does_count: bool) -> None:
        is_held = (await self.places())[attempt.index].holds(attempt)
        before = await self.everything()
        await self._write(ours(self.ledger).work.record, script)
        assert (await self.everything() != before) == is_held
        if is_held and not does_count:
            self._uncount(attempt.index, attempt.fence)

    def _uncount(self, index: int, fence: int) -> None:
        for stage in range(STAGES):
            self.counted[index, stage].discard(fence)

    async def _write(
        self,
        write: Callable[Given, Awaitable[object]],
        *arguments: Given.args,
        **named: Given.kwargs,
    ) -> None:
        """Write what is without effect ever after, however often it is written again."""
        await write(*arguments, **named)
        self.written.append(Write(lambda: write(*arguments, **named), lambda _: True))

    async def repeat(self, write: Write) -> None:
        has_no_effect = write.changes_nothing(await self.places())
        before = await self.everything()
        answer = await write.again()
        if has_no_effect:
            assert await self.everything() == before
        elif isinstance(answer, Attempt) and answer not in self.attempts:
            # Given twice, it is one attempt all the same, which comes to one thing.
            self.attempts.append(answer)

    # --- what there is to see ---------------------------------------------------------

    async def places(self) -> dict[int, Place]:
        rows = await self.ledger.database.read(
            "SELECT idx, state, fence, token, attempts FROM chunks WHERE job_id = ?", (self.job_id,)
        )
        return {index: Place(*place) for index, *place in rows}

    async def everything(self) -> list[list[tuple[object, ...]]]:
        """All that is recorded of the job."""
        read = self.ledger.database.read
        return [[tuple(row) for row in await read(sql, (self.job_id,))] for sql in _EVERYTHING]

    async def job(self) -> JobRecord:
        return await found(self.ledger, self.job_id)

    async def finished(self) -> dict[int, tuple[ChunkRecord, ChunkOutput]]:
        """Every chunk that has an outcome, with what it left behind."""
        return {
            chunk.index: (chunk, output)
            async for chunk, output in ours(self.ledger).chunks.stream(self.job_id)
            if chunk.state.is_terminal
        }
