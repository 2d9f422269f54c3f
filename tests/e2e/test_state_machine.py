"""Random sequences of controls, failures and kills, against a real stack.

Two jobs are driven at a time, one in each execution. What has to hold at every look at them
is in driven_job.py. An example that fails tells all its steps, with their times: it depends
on the moment, too, so it is not shrunk.

A longer search is given how many examples there are to be, and where to begin:

    FANFOLD_STEERING_EXAMPLES=100 pytest tests/e2e/test_state_machine.py --hypothesis-seed=1
"""

import json
import os
import shutil
import tempfile
import time
from collections.abc import Iterator
from contextlib import closing, contextmanager
from itertools import count
from pathlib import Path
from typing import Any, Final

import httpx
import pytest
from hypothesis import HealthCheck, Phase, settings
from hypothesis import strategies as st
from hypothesis.stateful import (
    RuleBasedStateMachine,
    initialize,
    invariant,
    rule,
    run_state_machine_as_test,
)

from fanfold.devstack.running import RunningStack, running
from tests.e2e.asked_redrive import AskedRedrive
from tests.e2e.bad_luck import BadLuck
from tests.e2e.drawn_steps import ANSWERS, BECOMES, WORKERS, behaviours, steps
from tests.e2e.driven_job import Answer, DrivenJob
from tests.e2e.faults import EXECUTIONS
from tests.e2e.journeys import submit
from tests.e2e.scripted import NAMES, Script
from tests.postgresql import start_server

EXAMPLES: Final = os.environ.get("FANFOLD_STEERING_EXAMPLES")
SETTINGS: Final = {
    "FANFOLD_PROCESSORS": NAMES,
    "FANFOLD_RECONCILE_INTERVAL_SECONDS": "0.5",
    "FANFOLD_WORKERS": str(WORKERS),
}
_END_SECONDS: Final = 90.0
# A minute and a half for both tests where nothing else runs; searches take as long as they are.
_TIMEOUT_SECONDS: Final = 300 if EXAMPLES is None else 36_000
_JSON: Final = {"Content-Type": "application/json"}  # also of a null


class Broken(BaseException):
    """What is promised does not hold; all steps that led there.

    No Exception: hypothesis would take the steps again, in other moments.
    """


class Steering(RuleBasedStateMachine):
    """Drives two jobs of a stack by everything that a client, or bad luck, can do to them."""

    def __init__(self, stack: RunningStack, directory: Path) -> None:
        super().__init__()
        self.stack = stack
        self.directory = Path(tempfile.mkdtemp(dir=directory))
        self.api = httpx.Client(base_url=stack.url, timeout=20)
        self.jobs: list[DrivenJob] = []
        self.luck = BadLuck(stack, self.note)
        self.numbers = count(1)
        self.steps: list[str] = []
        self.has_failed = False

    def note(self, what: str) -> None:
        self.steps.append(f"{time.monotonic():.3f} {what}")

    @initialize(
        data=st.data(),
        by_item=st.booleans(),
        on_failure=st.sampled_from(["record", "hold"]),
        stages=st.integers(1, 2),
        most=st.integers(1, 3),
        size=st.integers(3, 6),
        reducer=st.sampled_from(["collect", None]),
    )
    def submit(
        self,
        *,
        data: Any,
        by_item: bool,
        on_failure: str,
        stages: int,
        most: int,
        size: int,
        reducer: str | None,
    ) -> None:
        processor = "scripted" if by_item else "scripted_chunk"
        script = {
            f"{chunk}/{item}/0": data.draw(behaviours) for chunk in range(size) for item in (0, 1)
        }
        if stages > 1:
            script |= {f"{chunk}/0/1": data.draw(behaviours) for chunk in range(size)}
        for execution in EXECUTIONS:
            place = Script(self.directory / execution)
            place.write(script)
            stage = {"processor": processor, "options": {"directory": str(place.directory)}}
            then = stage | {"processor": "scripted"}
            accepted = submit(
                self.api,
                chunks=[[2 * chunk, 2 * chunk + 1] for chunk in range(size)],
                execution=execution,
                reducer=reducer,
                max_concurrency=most,
                on_failure=on_failure,
                retry={"max_attempts": 2, "initial_interval_seconds": 0.05},
                **(stage if stages == 1 else {"stages": [stage, then if by_item else stage]}),
            )
            self.jobs.append(
                DrivenJob(
                    api=self.api,
                    id=accepted["id"],
                    execution=execution,
                    script=place,
                    by_item=by_item,
                    size=size,
                    stops=self.luck.stops,
                    widest=most,
                )
            )
            self.note(f"{execution}: {accepted['id']} {on_failure} {processor} {script}")

    # --- time --------------------------------------------------------------------------------

    def wait(self, seconds: float) -> None:
        time.sleep(seconds)

    def settle(self, job: int) -> None:
        """Wait until this job needs somebody, or has ended; not for long."""
        it, until = self.jobs[job], time.monotonic() + 6
        while it.read()["state"] in {"pending", "running", "cancelling"}:
            if time.monotonic() > until:
                return
            time.sleep(0.02)

    # --- controls ----------------------------------------------------------------------------

    def pause(self, job: int, twice: bool) -> None:
        it = self.jobs[job]
        answer = self.control(it, "pause", "POST", "/pause")
        if answer.status == 202:
            if answer.body["state"] == "paused":
                it.paused()
            if twice and it.read()["state"] == "paused":
                assert it.ask("POST", "/pause").status == 202

    def resume(self, job: int) -> None:
        it = self.jobs[job]
        it.end_pause(time.monotonic())
        self.control(it, "resume", "POST", "/resume")

    def change(self, job: int, changes: dict[str, Any]) -> None:
        it = self.jobs[job]
        it.widest = max(it.widest, changes.get("max_concurrency", 0))
        answer = self.control(it, "change", "PATCH", "", json=changes)
        if answer.status == 200:
            shown = it.read()
            for name, value in changes.items():
                found = shown[name]
                if isinstance(value, dict):
                    found = {key: found[key] for key in value}
                assert found == value, (name, shown)

    def cancel(self, job: int, drain: bool) -> None:
        it = self.jobs[job]
        it.end_pause(time.monotonic())
        answer = self.control(it, "cancel", "DELETE", "", params={"drain": "true"} if drain else {})
        if answer.status < 300:
            it.is_cancelled = True

    def cancel_child(self, job: int, index: int, runs: bool) -> None:
        it = self.jobs[job]
        running = it.ask("GET", "/children", params={"state": "running"}).body["children"]
        if runs and running:
            index = running[0]["index"]
        path = f"/children/{index % it.size}"
        before = it.ask("GET", path).body["state"]
        answer = self.told(it, "cancel child", it.ask("DELETE", path))
        if before in {"succeeded", "partially_succeeded", "failed"}:
            assert answer.code == "child_already_finished"
        elif before == "cancelled":
            assert answer.status == 202
        elif answer.status != 202:
            assert answer.code == "child_already_finished"

    def release(self, job: int) -> None:
        self.control(self.jobs[job], "release", "POST", "/release")

    def resolve(self, job: int, value: Any) -> None:
        it = self.jobs[job]
        held = it.ask("GET", "/children", params={"state": "held"}).body["children"]
        if not held:
            answer = self.told(
                it,
                "resolve",
                it.ask("PUT", "/children/0/result", content=json.dumps(value), headers=_JSON),
            )
            if answer.status == 200:  # it was given this before
                child = answer.body
                assert (child["resolved_by"], child["result"]) == ("client", value)
            else:
                assert answer.code == "child_not_held"
            return
        path = f"/children/{held[0]['index']}"
        answer = self.told(
            it, "resolve", it.ask("PUT", f"{path}/result", content=json.dumps(value), headers=_JSON)
        )
        if answer.status != 200:
            # Its job was stopped meanwhile.
            assert answer.code == "child_not_held"
            assert it.ask("GET", path).body["state"] != "held"
            return
        child = answer.body
        assert (child["state"], child["resolved_by"]) == ("succeeded", "client")
        assert child["result"] == value
        assert (
            it.ask("PUT", f"{path}/result", content=json.dumps(value), headers=_JSON).status == 200
        )
        assert it.ask("PUT", f"{path}/result", json=["other"]).code == "child_not_held"

    def redrive(self, job: int, *, settles: bool, dies: bool, **drawn: Any) -> None:
        it = self.jobs[job]
        if settles:
            if it.pause is not None:
                self.resume(job)
            self.settle(job)
        redrive = AskedRedrive.drawn(it, next(self.numbers), **drawn)
        self.note(f"{it.execution}: redrive of {redrive.selected} by {redrive.request}")
        if redrive.has_key and dies and self.luck.may_kill:
            self.luck.kill_gateway_in(0.01)
        redrive.check(self.told(it, "redrive", redrive.ask()))

    def control(self, it: DrivenJob, name: str, method: str, path: str, **request: Any) -> Answer:
        """Ask for it; the answer is one that there is in a state which the job may be in."""
        before = it.read()["state"]
        answer = self.told(it, f"{name} {request}", it.ask(method, path, **request))
        if answer.is_first:
            codes = {ANSWERS[name].get(state, "2xx") for state in BECOMES[before]}
            is_good = answer.status < 300 and codes & {"2xx", "200"}
            assert is_good or answer.code in codes, (name, before, answer.body)
        return answer

    def told(self, it: DrivenJob, what: str, answer: Answer) -> Answer:
        said = answer.body.get("state") if answer.status < 300 else answer.code
        self.note(f"{it.execution}: {what}: {answer.status} {said}")
        return answer

    # --- bad luck ----------------------------------------------------------------------------

    def kill_worker(self, pick: int) -> None:
        if self.luck.may_kill:
            self.luck.kill_worker(pick, self._busy())

    def kill_gateway(self) -> None:
        if self.luck.may_kill:
            self.luck.kill_gateway_in(0)
            time.sleep(0.02)

    def stop_worker(self, pick: int, seconds: float) -> None:
        self.luck.stop_worker(pick, self._busy(), seconds)

    def _busy(self) -> set[int]:
        """The processes that are in mid-chunk."""
        calls = (call for it in self.jobs for call in it.script.calls())
        return {call.pid for call in calls if call.ended_at is None}

    @rule(step=steps)
    def take(self, step: tuple[str, dict[str, Any]]) -> None:
        name, given = step
        with self.told_whole():
            getattr(self, name)(**given)

    @contextmanager
    def told_whole(self) -> Iterator[None]:
        """With a failure goes all that came before it."""
        try:
            yield
        except Exception as error:
            self.has_failed = True
            raise Broken("\n".join((str(error), *self.steps))) from error

    # --- always ------------------------------------------------------------------------------

    @invariant()
    def all_is_well(self) -> None:
        with self.told_whole():
            for it in self.jobs:
                job = it.observe()
                self.note(f"{it.execution}: {job['state']} {job['chunks']}")

    def teardown(self) -> None:
        self.luck.be_over()
        with closing(self.api):
            if self.has_failed:
                for it in self.jobs:
                    it.ask("DELETE")  # it would be in the way of the next
                return
            with self.told_whole():
                for it in self.jobs:
                    job = it.finish(_END_SECONDS)
                    self.note(f"{it.execution} to the end: {job['state']} {job['chunks']}")


def drive(stack: RunningStack, directory: Path, examples: int) -> None:
    """Run so many examples, or those that were asked for."""
    chosen = settings(
        max_examples=int(EXAMPLES or examples),
        stateful_step_count=30,
        derandomize=EXAMPLES is None,
        phases=[Phase.generate],
        deadline=None,
        database=None,
        suppress_health_check=list(HealthCheck),
    )

    class Here(Steering):
        def __init__(self) -> None:
            super().__init__(stack, directory)

    run_state_machine_as_test(Here, settings=chosen)


@pytest.fixture
def scripts() -> Iterator[Path]:
    """A directory for the scripts of all jobs."""
    directory = Path(tempfile.mkdtemp(prefix="fanfold-steering-"))
    yield directory
    shutil.rmtree(directory, ignore_errors=True)


@pytest.mark.timeout(_TIMEOUT_SECONDS)
def test_whatever_is_done_to_jobs_what_is_promised_of_them_holds(
    tmp_path: Path, scripts: Path
) -> None:
    with running(tmp_path / "data", SETTINGS) as stack:
        drive(stack, scripts, examples=4)


@pytest.mark.timeout(_TIMEOUT_SECONDS)
def test_the_same_holds_on_postgresql(tmp_path: Path, scripts: Path) -> None:
    with tempfile.TemporaryDirectory(prefix="fanfold-postgresql-") as directory:
        server = start_server(Path(directory))
        try:
            url = {"FANFOLD_LEDGER_URL": server.get_uri()}
            with running(tmp_path / "data", SETTINGS | url) as stack:
                drive(stack, scripts, examples=2)
        finally:
            server.cleanup()
