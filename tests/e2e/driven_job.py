"""A job that a state machine drives, and what has to hold of it whenever it is looked at."""

import json
import os
import time
from collections.abc import Iterable
from dataclasses import dataclass, field
from itertools import pairwise
from typing import Any, Final

import httpx

from tests.e2e.bad_luck import Stops
from tests.e2e.journeys import TERMINAL_CHUNK_STATES, TERMINAL_JOB_STATES
from tests.e2e.scripted import Call, Script
from tests.waiting import eventually

OVERLAP_SECONDS: Final = 0.3
"""A call that is told to stop hears of it between two lines of Python, once it has a turn."""
_CLAIM_SECONDS: Final = 0.1
"""The transaction of an attempt that began before a pause may end just after it."""
_AWAY_SECONDS: Final = 60.0
_WITH_RESULT: Final = ("succeeded", "partially_succeeded")


@dataclass(slots=True)
class Answer:
    """What the gateway answered, and whether it is known that it was asked once only."""

    response: httpx.Response
    is_first: bool

    @property
    def status(self) -> int:
        return self.response.status_code

    @property
    def body(self) -> dict[str, Any]:
        found: dict[str, Any] = self.response.json()
        return found

    @property
    def code(self) -> str:
        return str(self.body.get("code", self.status))


def ask(api: httpx.Client, method: str, path: str, **request: Any) -> Answer:
    """Ask until a gateway is there to answer, and has a ledger to ask."""
    tries = 0

    def answer() -> httpx.Response | None:
        nonlocal tries
        tries += 1
        try:
            response = api.request(method, path, **request)
        except httpx.TransportError:
            return None
        return None if response.status_code == 503 else response

    response = eventually(answer, what=f"{method} {path}", timeout_seconds=_AWAY_SECONDS)
    assert response is not None
    assert response.status_code < 500, (method, path, response.status_code, response.text)
    return Answer(response, tries == 1)


@dataclass(frozen=True, slots=True)
class Outcome:
    """What became of a chunk, as it is shown."""

    child: dict[str, Any]
    line: bytes
    """Of /results."""

    def item_values(self) -> dict[int, Any]:
        """What each item gave, by position, of one whose result has a place for each."""
        return item_values(self.child)


def item_values(child: dict[str, Any]) -> dict[int, Any]:
    """What each item gave that did not fail, of a child whose result has a place for each."""
    failed = {error["item"]: error["type"] for error in child["item_errors"]}
    places = [item for item in range(child["item_count"]) if failed.get(item) != "ItemDropped"]
    result = child["result"]
    if not isinstance(result, list) or len(result) != len(places):
        return {}
    return {item: value for item, value in zip(places, result, strict=True) if item not in failed}


@dataclass(slots=True)
class Pause:
    """A pause that was answered."""

    answered_at: float
    attempts: list[int]
    """Of each chunk, just after it."""


@dataclass(slots=True, kw_only=True)
class DrivenJob:
    """A job, and what is known of it: so far by the answers, and beforehand by its script."""

    api: httpx.Client
    id: str
    execution: str
    script: Script
    by_item: bool
    size: int
    stops: Stops
    widest: int
    """The most chunks that it was ever allowed to run at a time."""
    run: int = 1
    outcomes: dict[int, Outcome] = field(default_factory=dict)
    redriven: dict[int, tuple[float, Outcome | None]] = field(default_factory=dict)
    """By chunk that a redrive has selected: when, and what had become of it until then."""
    ended: dict[int, dict[str, Any]] = field(default_factory=dict)
    """By run: the job as it ended."""
    is_cancelled: bool = False
    pause: Pause | None = None
    pauses: list[tuple[float, float]] = field(default_factory=list)
    """From the answer of each pause to the request that ended it."""

    @property
    def path(self) -> str:
        return f"/jobs/{self.id}"

    def ask(self, method: str, path: str = "", **request: Any) -> Answer:
        return ask(self.api, method, self.path + path, **request)

    def read(self) -> dict[str, Any]:
        """The job, whose counts add up."""
        job = self.ask("GET").body
        chunks, items = dict(job["chunks"]), dict(job["items"])
        assert min(*chunks.values(), *items.values()) >= 0, job
        total = chunks.pop("total")
        assert total == self.size == sum(chunks.values()), job
        assert items["succeeded"] + items["failed"] <= items["total"], job
        assert job["run"] == self.run, job
        return job

    def observe(self) -> dict[str, Any]:
        """Look at all of it, and compare it with what was known before."""
        job = self.read()
        children = self.ask("GET", "/children").body["children"]
        lines = self.ask("GET", "/results").response.content.splitlines()
        by_index = {json.loads(line)["index"]: line for line in lines}
        assert [child["index"] for child in children] == list(range(self.size))
        for child in children:
            self._see(child, by_index)
        self._see_job(job, children, by_index)
        if self.pause is not None:
            now = [child["attempts"] for child in children]
            began = [
                n for n, (a, b) in enumerate(zip(self.pause.attempts, now, strict=True)) if b > a
            ]
            assert not began, f"attempts at chunks {began} began while the job is paused"
        return job

    def _see(self, child: dict[str, Any], lines: dict[int, bytes]) -> None:
        index = child["index"]
        known = self.outcomes.get(index)
        if child["state"] not in TERMINAL_CHUNK_STATES:
            assert known is None, f"chunk {index} had an outcome, and has none: {known} {child}"
            return
        assert index in lines, f"chunk {index} is finished, and not in the results"
        outcome = Outcome(child, lines[index])
        if known is not None:
            assert outcome == known, f"chunk {index} has changed: {known} {outcome}"
            return
        at, before = self.redriven.pop(index, (0.0, None))
        if before is not None:
            self._check_nothing_lost(index, at, before, outcome)
        self.outcomes[index] = outcome

    def _check_nothing_lost(self, index: int, at: float, before: Outcome, now: Outcome) -> None:
        """Of a chunk that was redriven at this time and has an outcome again."""
        again = {call.item for call in self._calls_since(index, at)}
        told = f"chunk {index}: {before} {now}, items that ran since: {again}"
        assert now.child["run"] in {self.run, before.child["run"]}, told
        if now.child["state"] == "cancelled":
            assert before.child["state"] == "cancelled", told
        if not again:
            # Nothing but a person, once it is held, can have brought about another result.
            same = now.child["result"] == before.child["result"]
            assert same or now.child["resolved_by"] == "client", told
        if not self.by_item or now.child["resolved_by"] == "client":
            return
        values = now.item_values()
        for item, value in before.item_values().items():
            assert item in again or values.get(item) == value, f"item {item} is lost: {told}"

    def _calls_since(self, index: int, at: float) -> Iterable[Call]:
        return (call for call in self.script.calls() if call.chunk == index and call.began_at >= at)

    def _see_job(
        self, job: dict[str, Any], children: list[dict[str, Any]], lines: dict[int, bytes]
    ) -> None:
        state = job["state"]
        if self.is_cancelled:
            assert state in {"cancelling", "cancelled"}, job
        if self.pause is not None:
            # It may fail by its tolerance or its deadline, and is not otherwise changed.
            assert state in {"paused", "failed"}, job
            if state != "paused":
                self.end_pause(time.monotonic())
        known = self.ended.get(self.run)
        if state not in TERMINAL_JOB_STATES:
            assert known is None, f"the job had ended: {known} {job}"
            return
        if known is not None:
            assert job == known
            return
        for each in {*job["chunks"]} - {"total"}:
            assert job["chunks"][each] == sum(child["state"] == each for child in children), job
        assert len(lines) == self.size
        self._check_end(job, children)
        self.ended[self.run] = job

    def _check_end(self, job: dict[str, Any], children: list[dict[str, Any]]) -> None:
        assert not [child for child in children if child["state"] not in TERMINAL_CHUNK_STATES]
        is_complete = job["chunks"]["succeeded"] == self.size
        if job["state"] == "succeeded":
            assert is_complete, job
        if job["state"] == "failed":
            assert job["error"] is not None, job
        elif is_complete and job["state"] != "cancelled":
            assert job["state"] == "succeeded", job
        survivors = [
            {"index": child["index"], "result": _without_failed(child)}
            for child in children
            if child["state"] in _WITH_RESULT
        ]
        is_folded = job["reducer"] is not None and job["state"] != "cancelled" and survivors
        folded = survivors if is_folded else None
        assert job["result"] == folded, (job, survivors)
        for index, (_, before) in self.redriven.items():
            raise AssertionError(f"chunk {index} came to nothing: {before}")

    # --- what controls bring about ------------------------------------------------------------

    def paused(self) -> None:
        """A pause was answered just now."""
        if self.pause is not None:
            return
        answered_at = time.monotonic()
        time.sleep(_CLAIM_SECONDS)
        children = self.ask("GET", "/children").body["children"]
        self.pause = Pause(answered_at, [child["attempts"] for child in children])

    def end_pause(self, at: float) -> None:
        """The pause was over at this time, if there was one."""
        if self.pause is not None:
            self.pauses.append((self.pause.answered_at, at))
            self.pause = None

    def redriven_at(self, at: float, selected: Iterable[int], *, is_next_run: bool) -> None:
        """A redrive of these chunks, asked for at this time, was answered."""
        for index in selected:
            self.redriven[index] = at, self.outcomes.pop(index, None)
        self.run += is_next_run
        self.is_cancelled = False

    # --- at the end ---------------------------------------------------------------------------

    def finish(self, timeout_seconds: float) -> dict[str, Any]:
        """Let it go on, whatever it waits for, until it has ended; check all that it did."""

        def has_ended() -> dict[str, Any] | None:
            job = self.observe()
            if job["state"] == "paused":
                self.end_pause(time.monotonic())
                self.ask("POST", "/resume")
            elif job["state"] == "waiting":
                self.ask("POST", "/release")
            return job if job["state"] in TERMINAL_JOB_STATES else None

        job = eventually(
            has_ended, what=f"job {self.id} has ended", timeout_seconds=timeout_seconds
        )
        assert job is not None
        for run, ended in self.ended.items():
            shown = self.ask("GET", params={"run": run}).body
            for name in ("state", "run", "chunks", "items", "error", "finished_at"):
                assert shown[name] == ended[name], (run, name, shown, ended)
        self.check_calls()
        return job

    def check_calls(self) -> None:
        """By what the processor noted: nothing began in a pause, and nothing ran twice at once."""
        calls = self.script.calls()
        for since, until in self.pauses:
            for call in calls:
                if call.is_first and since < call.began_at < until:
                    latest = self.stops.latest_start(call.pid, since)
                    assert call.began_at < latest, f"paused from {since} to {until}: {call}"
        for index in range(self.size):
            of_chunk = [call for call in calls if call.chunk == index]
            for call, later in pairwise(of_chunk):
                if later.place == call.place:
                    continue
                ended_at = _ended_at(call)
                assert later.began_at > ended_at - OVERLAP_SECONDS, f"at once: {call} {later}"
        at_once = _most_at_once(calls)
        assert at_once <= self.widest, f"{at_once} chunks ran at a time, of {self.widest}"


def _without_failed(child: dict[str, Any]) -> Any:
    """The result of a child as its job folds it."""
    return list(item_values(child).values()) if child["item_errors"] else child["result"]


def _ended_at(call: Call) -> float:
    if call.ended_at is not None:
        return call.ended_at
    return time.monotonic() if _is_alive(call.pid) else call.began_at


def _is_alive(pid: int) -> bool:
    try:
        os.kill(pid, 0)
    except ProcessLookupError:
        return False
    return True


def _most_at_once(calls: Iterable[Call]) -> int:
    changes = []
    for call in calls:
        ended_at = _ended_at(call) - OVERLAP_SECONDS
        if ended_at > call.began_at:
            changes += [(call.began_at, 1), (ended_at, -1)]
    running = most = 0
    for _, change in sorted(changes):
        running += change
        most = max(most, running)
    return most
