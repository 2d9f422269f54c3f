"""Lives of a job for the property tests: everything that may happen to it, in any order."""

from collections import defaultdict
from collections.abc import Awaitable, Callable
from dataclasses import dataclass, field, replace

from fanfold.contract.names import JobId
from fanfold.contract.states import ChunkState, JobState
from fanfold.ledger import outcomes
from fanfold.ledger.connect import Ledger
from fanfold.ledger.outcomes import Script
from fanfold.ledger.records import Attempt, BlockRun, ChunkOutput, ChunkRecord, ItemError, JobRecord
from fanfold.ledger.run_again import Redrive, Selected
from fanfold.ledger.transitions import CANCEL, OPEN_CHUNK
from tests.ledger.jobs_recorded import BROKEN, a_spec, found, new_token, ours, running

SIZES = (1, 2, 3)
STAGES = 2

Step = tuple[str, int]
Outcome = tuple[ChunkRecord, ChunkOutput]

_EVERYTHING = (
    "SELECT * FROM chunks WHERE job_id = ? ORDER BY idx",
    "SELECT idx, body, item_errors FROM results WHERE job_id = ? ORDER BY idx",
    "SELECT idx, stage, body FROM inputs WHERE job_id = ? ORDER BY idx, stage",
    "SELECT block, number FROM block_runs WHERE job_id = ? ORDER BY block, number",
    "SELECT * FROM attempts WHERE job_id = ? ORDER BY idx, run, stage, number",
    "SELECT * FROM kept_outputs WHERE job_id = ? ORDER BY idx",
    "SELECT idx FROM child_cancels WHERE job_id = ? ORDER BY idx",
    "SELECT run, state, summary FROM job_runs WHERE job_id = ? ORDER BY run",
    "SELECT state, run, revision, finished_at, summary FROM jobs WHERE id = ?",
)


@dataclass(frozen=True)
class Place:
    """Where a chunk stands."""

    state: ChunkState
    fence: int
    token: int | None
    attempts: int
    stage: int

    def holds(self, attempt: Attempt) -> bool:
        return self.state == "running" and self.fence == attempt.fence


@dataclass(frozen=True)
class Seen:
    """Where the job and its chunks stand."""

    job_state: JobState
    run: int
    places: dict[int, Place]

    def has(self, *states: str) -> bool:
        """Whether a chunk is in one of these states."""
        return any(place.state in states for place in self.places.values())


@dataclass
class Write:
    """Something that was written, to be written again at a later time."""

    again: Callable[[], Awaitable[object]]
    changes_nothing: Callable[[Seen], bool]
    """Whether it has to be without effect, as things stand now."""


@dataclass
class Life:
    """A job of three chunks in two stages, and everything that was ever written of it."""

    ledger: Ledger
    job_id: JobId
    attempts: list[Attempt] = field(default_factory=list)
    written: list[Write] = field(default_factory=list)
    counted: dict[tuple[int, int], set[int]] = field(default_factory=lambda: defaultdict(set))
    """By chunk and stage, the fences of the attempts that count since it was last redriven."""
    counted_before: dict[int, int] = field(default_factory=lambda: defaultdict(int))
    """By chunk, how many attempts of earlier runs count."""
    put_aside: dict[int, Outcome] = field(default_factory=dict)
    """What the chunks that run again have come to before."""
    again: frozenset[int] = frozenset()
    """The chunks that the last step was a redrive of."""

    @classmethod
    async def new(cls, ledger: Ledger) -> "Life":
        return cls(ledger, await running(ledger, SIZES, spec=a_spec(stages=STAGES)))

    async def step(self, what: str, number: int) -> None:
        index = number % len(SIZES)
        run = BlockRun(block=number % 2, number=1 + number % 3)
        of, job_id, seen = ours(self.ledger), self.job_id, await self.seen()
        steps: dict[str, Callable[[], Awaitable[None]]] = {
            # Mostly at the stage that the chunk is at.
            "begin": lambda: self._begin(index, (seen.places[index].stage + number // 8) % STAGES),
            "claim": lambda: self._claim(run),
            "repeat": lambda: self._repeat_one(number),
            "take over": lambda: self._write(
                lambda: of.work.take_over(job_id, run), lambda now: now.run == seen.run
            ),
            "offer again": self._offer_again,
            "lose": lambda: self._write(
                lambda: of.work.record_lost(job_id, index, BROKEN, run=seen.run),
                lambda now: now.run != seen.run or now.places[index].state not in OPEN_CHUNK,
            ),
            "cancel": lambda: self._write(
                lambda: of.jobs.request_cancel(job_id),
                lambda now: now.job_state not in CANCEL.before,
            ),
            "settle": lambda: self._write(
                lambda: of.closing.settle(job_id, seen.run),
                lambda now: now.run != seen.run or not now.has(*OPEN_CHUNK, ChunkState.HELD),
            ),
            "close": lambda: self._close(number),
            "redrive": lambda: self._redrive(number),
            "pause": lambda: self._twice(lambda: of.steering.pause(job_id)),
            "resume": lambda: self._twice(lambda: of.steering.resume(job_id)),
            "wait": self._wait,
            "release": lambda: self._twice(lambda: of.steering.release(job_id)),
            "resolve": lambda: self._twice(
                lambda: of.steering.resolve(job_id, index, b"[0]", by_item=True)
            ),
            "cancel child": lambda: self._twice(lambda: of.steering.cancel_child(job_id, index)),
            "look": lambda: self._twice(lambda: of.closing.cancel_children(job_id)),
        }
        self.again = frozenset()
        if what in steps:
            await steps[what]()
        elif self.attempts:
            await self._end(what, self.attempts.pop(number % len(self.attempts)), number)

    async def end(self) -> JobRecord:
        """Bring the job to its end, whatever has happened."""
        await ours(self.ledger).closing.settle(self.job_id, (await self.seen()).run)
        await self._close(1)
        return await found(self.ledger, self.job_id)

    # --- what may happen --------------------------------------------------------------

    async def _begin(self, index: int, stage: int) -> None:
        token, run = new_token(), await self._opened()

        async def begin() -> Attempt | None:
            before = await self.seen()
            begun = await ours(self.ledger).work.begin(
                self.job_id, index, stage, token=token, job_run=run
            )
            return self._noted(begun, before) if isinstance(begun, Attempt) else None

        if (first := await begin()) is not None:
            self.attempts.append(first)
            self.written.append(Write(begin, lambda now: now.places[index].token == token))

    async def _claim(self, run: BlockRun) -> None:
        token, job_run = new_token(), await self._opened()

        async def claim() -> Attempt | None:
            before = await self.seen()
            claimed = await ours(self.ledger).work.claim(
                self.job_id, run, token=token, job_run=job_run
            )
            return self._noted(claimed, before) if claimed is not None else None

        if (first := await claim()) is not None:
            self.attempts.append(first)
            # Once that attempt has ended it is the claim of another chunk.
            self.written.append(Write(claim, lambda now: now.places[first.index].holds(first)))

    async def _wait(self) -> None:
        """Hold what has not begun; where nothing else is left, the job waits."""
        for index, place in (await self.places()).items():
            if place.state is ChunkState.PENDING:
                await self._begin(index, place.stage)
        for attempt in list(self.attempts):
            if (await self.places())[attempt.index].holds(attempt):
                self.attempts.remove(attempt)
                await self._end("hold", attempt, attempt.index)
        await self._twice(lambda: ours(self.ledger).closing.wait(self.job_id))

    async def _opened(self) -> int:
        """The job's run, which its workflow has opened."""
        run = (await self.seen()).run
        await ours(self.ledger).jobs.open(self.job_id, run)
        return run

    def _noted(self, begun: Attempt, before: Seen) -> Attempt:
        counted = self.counted[begun.index, begun.stage]
        if begun.fence > before.places[begun.index].fence:
            assert before.job_state is JobState.RUNNING
            assert begun.run == before.run
            counted.add(begun.fence)
        assert begun.fence in counted
        assert begun.number == len(counted)
        return begun

    async def _close(self, number: int) -> None:
        end = [JobState.SUCCEEDED, JobState.FAILED, JobState.CANCELLED][number % 3]
        run = (await self.seen()).run

        async def close() -> bool:
            return await ours(self.ledger).closing.close(
                self.job_id, end, error=None, result=b"%d" % number, run=run
            )

        if await close():
            self.written.append(Write(close, lambda _: True))

    async def _redrive(self, number: int) -> None:
        """Let some of what has come to something run again, mostly once the job has ended."""
        if number % 4 and (await self.seen()).job_state is not JobState.WAITING:
            await self.end()
        job, known = await self.job(), await self.outcomes()
        chosen = [
            Selected(index, record.state, (0,) if number % 3 == 0 else None)
            for index, (record, _) in known.items()
            if (1 + number) >> index & 1
        ]
        wanted = Redrive(
            spec=job.spec, controls=job.controls, selected=chosen, is_resumed=number % 2 == 0
        )
        redriving = ours(self.ledger).redriving
        is_redriven = await redriving.redrive(job, wanted)
        self.written.append(Write(lambda: redriving.redrive(job, wanted), lambda _: True))
        assert is_redriven == (job.state.is_terminal or job.state is JobState.WAITING)
        if is_redriven:
            self.again = frozenset(one.index for one in chosen)
        for one in chosen if is_redriven else ():
            self.put_aside[one.index] = known[one.index]
            self.counted_before[one.index] += self._attempts_since(one.index)
            for stage in range(STAGES):
                self.counted[one.index, stage].clear()

    async def _repeat_one(self, number: int) -> None:
        if self.written:
            await self.repeat(self.written[number % len(self.written)])

    async def _offer_again(self) -> None:
        run = (await self.seen()).run

        async def offer_again() -> None:
            seen = await self.seen()
            for index, place in seen.places.items():
                if place.state == "running" and seen.run == run:
                    self._uncount(index, place.fence)
            await ours(self.ledger).work.offer_again(self.job_id, run)

        await offer_again()
        # Again means: what was begun since is taken back as well.
        self.written.append(
            Write(
                offer_again,
                lambda now: now.run != run or not now.has(ChunkState.RUNNING),
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
        elif what == "hold":
            is_at_fault = any(not error.is_dropped for error in errors)
            script = outcomes.held(attempt, BROKEN, output if is_at_fault else ChunkOutput())
        elif what == "hear cancel":
            script = outcomes.cancelled(attempt)
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
        await self._write(lambda: ours(self.ledger).work.record(script), lambda _: True)
        assert (await self.everything() != before) == is_held
        if is_held and not does_count:
            self._uncount(attempt.index, attempt.fence)

    def _uncount(self, index: int, fence: int) -> None:
        for stage in range(STAGES):
            self.counted[index, stage].discard(fence)

    async def _write(
        self, write: Callable[[], Awaitable[object]], changes_nothing: Callable[[Seen], bool]
    ) -> None:
        """Write what may be written again at any later time, without effect as things stand so."""
        await write()
        self.written.append(Write(write, changes_nothing))

    async def _twice(self, write: Callable[[], Awaitable[object]]) -> None:
        """Write what has no effect the second time, and may have one later."""
        await write()
        before = await self.everything()
        await write()
        assert await self.everything() == before

    async def repeat(self, write: Write) -> None:
        has_no_effect = write.changes_nothing(await self.seen())
        before = await self.everything()
        answer = await write.again()
        if has_no_effect:
            assert await self.everything() == before
        elif isinstance(answer, Attempt) and not self._has(answer):
            # Given twice, it is one attempt all the same, which comes to one thing.
            self.attempts.append(answer)

    def _has(self, attempt: Attempt) -> bool:
        """Whether it is one of those under way, at whatever revision of its job it was read."""
        return any(
            (one.index, one.fence) == (attempt.index, attempt.fence) for one in self.attempts
        )

    # --- what there is to see ---------------------------------------------------------

    async def places(self) -> dict[int, Place]:
        rows = await self.ledger.database.read(
            "SELECT idx, state, fence, token, attempts, stage FROM chunks WHERE job_id = ?",
            (self.job_id,),
        )
        return {index: Place(ChunkState(state), *place) for index, state, *place in rows}

    async def everything(self) -> list[list[tuple[object, ...]]]:
        """All that is recorded of the job."""
        read = self.ledger.database.read
        return [[tuple(row) for row in await read(sql, (self.job_id,))] for sql in _EVERYTHING]

    async def job(self) -> JobRecord:
        return await found(self.ledger, self.job_id)

    async def seen(self) -> Seen:
        ((state, run),) = await self.ledger.database.read(
            "SELECT state, run FROM jobs WHERE id = ?", (self.job_id,)
        )
        return Seen(JobState(state), run, await self.places())

    async def outcomes(self) -> dict[int, Outcome]:
        """Every chunk that has an outcome or is held, with what it left behind."""
        return {
            chunk.index: (chunk, output)
            async for chunk, output in ours(self.ledger).chunks.stream(self.job_id)
            if chunk.state.is_terminal or chunk.state is ChunkState.HELD
        }

    async def finished(self) -> dict[int, Outcome]:
        """Every chunk that has an outcome."""
        known = await self.outcomes()
        return {index: one for index, one in known.items() if one[0].state.is_terminal}

    async def restored(self) -> dict[int, tuple[Outcome, Outcome]]:
        """Chunks put aside that have come to something again: what it is, and what it was."""
        known = await self.outcomes()
        ended = self.put_aside.keys() & known.keys()
        return {index: (known[index], self.put_aside.pop(index)) for index in ended}

    def attempts_seen(self, index: int) -> int:
        """The runs of a chunk that count: moving on to the next stage is no further one."""
        return self.counted_before[index] + self._attempts_since(index)

    def _attempts_since(self, index: int) -> int:
        by_stage = [len(self.counted[index, stage]) for stage in range(STAGES)]
        return by_stage[0] + sum(max(0, count - 1) for count in by_stage[1:])
