"""The command line on items: which went wrong, and where the code failed, in a command each."""

import json
from pathlib import Path
from typing import Any

import httpx
import pytest

from fanfold.devstack.running import RunningStack
from tests.e2e.test_cli import Cli

DOUBLE: dict[str, Any] = {
    "processor": "double",
    "options": {"fail_if_divisible_by": 2},
    "retry": {"max_attempts": 1},
    "chunk_size": 3,
}


@pytest.fixture
def cli(stack: RunningStack, tmp_path: Path) -> Cli:
    return Cli(stack.url, tmp_path)


def submitted(cli: Cli, job: dict[str, Any]) -> str:
    job_id: str = json.loads(cli.submit(job, "--json").stdout)["id"]
    return job_id


def test_items_are_listed_with_what_came_of_them(cli: Cli) -> None:
    job_id = submitted(cli, DOUBLE | {"items": [1, 2, 3, 4]})

    table = cli.run("items", job_id)

    assert table.returncode == 0, table.stderr
    rows = [line.split("│")[1:-1] for line in table.stdout.splitlines() if "│" in line]
    cells = [[cell.strip() for cell in row] for row in rows if row[0].strip()]
    assert [row[:2] for row in cells] == [["0", "0"], ["0", "1"], ["0", "2"], ["1", "0"]]
    assert [row[3] for row in cells] == ["succeeded", "failed", "succeeded", "failed"]
    assert [cells[0][4], cells[2][4]] == ["2", "6"]
    assert cells[1][4].startswith("ApplicationError:")


def test_items_as_json_are_those_of_http(cli: Cli, api: httpx.Client) -> None:
    job_id = submitted(cli, DOUBLE | {"items": [1, 2, 3, 4]})

    assert cli.objects("items", job_id) == api.get(f"/jobs/{job_id}/items").json()["items"]
    failed = cli.objects("items", job_id, "--state", "failed")
    assert [(item["index"], item["item"], item["value"]) for item in failed] == [
        (0, 1, 2),
        (1, 0, 4),
    ]


@pytest.mark.parametrize(
    ("options", "told"),
    [
        (("--limit", "1"), "3 more not shown; see them with --limit 4."),
        (("--limit", "1", "--state", "failed"), "1 more not shown; see them with --limit 2."),
        (("--limit", "2", "--state", "failed", "--json"), ""),
    ],
)
def test_how_many_items_are_not_shown_is_told(
    cli: Cli, options: tuple[str, ...], told: str
) -> None:
    job_id = submitted(cli, DOUBLE | {"items": [1, 2, 3, 4]})

    assert cli.run("items", job_id, *options).stderr.strip() == told


def test_an_item_s_own_key_is_shown(cli: Cli) -> None:
    job_id = submitted(
        cli,
        {"items": [{"sku": "tea"}], "item_key": "sku", "processor": "transform"},
    )

    assert '"tea"' in cli.run("items", job_id).stdout


def test_a_child_shows_where_the_code_failed(cli: Cli, tmp_path: Path) -> None:
    job_id = submitted(
        cli,
        {
            "items": [1, 2],
            "processor": "picky",
            "options": {"directory": str(tmp_path)},
            "retry": {"max_attempts": 1},
        },
    )

    lines = cli.run("child", job_id, "0").stdout.splitlines()

    assert lines[0] == f"child 0 of {job_id}: partially_succeeded"
    assert "  item 1: ConnectionError: the first call fails" in lines
    assert "  result: [2, null]" in lines
    traceback = lines[lines.index("  Traceback (most recent call last):") :]
    assert "processors.py" in traceback[1]
    assert traceback[1].endswith(", in picky")
    assert traceback[2].strip() == 'raise ConnectionError("the first call fails")'
