"""One redrive of a driven job: what was asked for, of what, and what may come of it."""

import time
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, Self

from tests.e2e.drawn_steps import BECOMES
from tests.e2e.driven_job import Answer, DrivenJob
from tests.e2e.journeys import TERMINAL_JOB_STATES

_MAY_BE_REDRIVEN = {"waiting", *TERMINAL_JOB_STATES}


@dataclass(slots=True, kw_only=True)
class AskedRedrive:
    """A redrive that is to be asked for, and the job as it was just before."""

    of: DrivenJob
    request: dict[str, Any]
    before: dict[str, Any]
    selected: Sequence[int]
    """The chunks that are meant."""
    is_exact: bool
    """Whether it is these and not fewer: by their errors, the ledger knows."""
    asks_for_all: bool = False
    """Whether it is of all that did not succeed: where that is nothing, of the fold."""
    asked_at: float = 0.0

    @classmethod
    def drawn(
        cls,
        of: DrivenJob,
        number: int,
        *,
        select: dict[str, Any],
        given: dict[str, Any],
        key: bool,
        heals: bool,
        corrects: bool,
    ) -> Self:
        """Decide what exactly is asked for; `number` is one that no other redrive has."""
        before = of.observe()
        children = of.ask("GET", "/children").body["children"]
        if "indexes" in select:
            select = select | {"indexes": sorted({one % of.size for one in select["indexes"]})}
        selected, is_exact = _selected(before["state"], select, children)
        body = {"select": select, **given} if select or given else {}
        if body.pop("options", None) is not None and before["processor"] is not None:
            # Of stages each has its own.
            body["options"] = {"directory": str(of.script.directory), "note": number}
        if corrects and selected and is_exact:
            body["corrections"] = [{"index": selected[0], "item": 1, "value": 100 + number}]
        of.widest = max(of.widest, given.get("max_concurrency", 0))
        if heals:
            of.script.write({item: [] for item in of.script.behaviours})
        headers = {"Idempotency-Key": f"{of.id}-{number}"} if key else {}
        return cls(
            of=of,
            request={"json": body, "headers": headers},
            before=before,
            selected=selected,
            is_exact=is_exact,
            asks_for_all=not body,
        )

    @property
    def has_key(self) -> bool:
        return bool(self.request["headers"])

    def ask(self) -> Answer:
        self.asked_at = time.monotonic()
        return self.of.ask("POST", "/redrive", **self.request)

    def check(self, answer: Answer) -> None:
        """The answer is one that there may be, and with a key it is given once more."""
        state, may_be = self.before["state"], BECOMES[self.before["state"]]
        if answer.status == 202:
            if state not in _MAY_BE_REDRIVEN:
                # It has ended since it was looked at, or waits: what was meant is not known.
                assert not answer.is_first or may_be & _MAY_BE_REDRIVEN, self.before
                self.selected, self.is_exact = range(self.of.size), False
            assert self.selected or self._is_of_fold, "nothing was to be selected"
            self._is_done()
            if self.has_key:
                self._is_done_once()
        elif not answer.is_first and not self.has_key:
            # An earlier try may have done it, whose answer was lost.
            now = self.of.ask("GET").body
            if now["run"] > self.before["run"] or (state == "waiting" and now["state"] != state):
                self._is_done()
        elif state in _MAY_BE_REDRIVEN:
            assert answer.code == "nothing_selected", (answer.body, self.before)
            assert not self.selected or not self.is_exact, (answer.body, self.selected)
            assert not self._is_of_fold, self.before
        else:
            codes = {"job_not_finished"} | (
                {"nothing_selected", "invalid_job"} if may_be & _MAY_BE_REDRIVEN else set()
            )
            assert answer.code in codes, (answer.body, self.before)

    @property
    def _is_of_fold(self) -> bool:
        begun = self.before["started_at"] is not None
        return self.asks_for_all and begun and self.before["state"] in {"failed", "cancelled"}

    def _is_done(self) -> None:
        of, shown = self.of, self.of.ask("GET").body
        is_next_run = shown["run"] == of.run + 1
        selected = self.selected
        if not self.is_exact:
            # Those that show this run.
            children = of.ask("GET", "/children").body["children"]
            selected = [
                index
                for index in selected
                if children[index]["run"] == shown["run"]
                and (is_next_run or children[index]["state"] != "held")
            ]
        of.redriven_at(self.asked_at, selected, is_next_run=is_next_run)

    def _is_done_once(self) -> None:
        again = self.ask()
        assert again.status == 202, again.body
        assert again.response.headers["Idempotency-Replayed"] == "true"
        assert self.of.read()["run"] == self.of.run


def _selected(
    state: str, select: dict[str, Any], children: list[dict[str, Any]]
) -> tuple[list[int], bool]:
    """The chunks that are meant, and whether it is these and not fewer."""
    states, indexes = select.get("states"), select.get("indexes")
    if states is None and indexes is None:
        states = ["held"] if state == "waiting" else ["failed", "partially_succeeded", "cancelled"]
    found = [
        child["index"]
        for child in children
        if (states is None or child["state"] in states)
        and (indexes is None or child["index"] in indexes)
    ]
    return found, "error_types" not in select
