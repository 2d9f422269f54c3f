"""Settings: a wrong one gives one line that names the variable and says why."""

from pathlib import Path

import pytest

from fanfold.contract.settings import (
    GatewaySettings,
    InvalidSettings,
    LedgerSettings,
    StackSettings,
    WorkerSettings,
    load,
)

KINDS = [LedgerSettings, GatewaySettings, WorkerSettings, StackSettings]


@pytest.fixture(autouse=True)
def _no_settings(monkeypatch: pytest.MonkeyPatch) -> None:
    """Whatever the tests are run with does not count."""
    for kind in KINDS:
        for name in kind.model_fields:
            monkeypatch.delenv(f"FANFOLD_{name.upper()}", raising=False)


@pytest.mark.parametrize("kind", KINDS)
def test_every_setting_has_a_default_and_a_description(kind: type[LedgerSettings]) -> None:
    load(kind)
    assert all(field.description for field in kind.model_fields.values())


@pytest.mark.parametrize(
    ("kind", "name", "value", "why"),
    [
        (GatewaySettings, "HTTP_PORT", "eighty", "valid integer"),
        (GatewaySettings, "HTTP_PORT", "", "valid integer"),
        (GatewaySettings, "HTTP_PORT", "0", "greater than or equal to 1"),
        (GatewaySettings, "HTTP_PORT", "65536", "less than or equal to 65535"),
        (GatewaySettings, "MAX_ITEMS", "-1", "greater than or equal to 1"),
        (GatewaySettings, "MAX_BODY_BYTES", "1.5", "valid integer"),
        (GatewaySettings, "MAX_NESTING_DEPTH", "201", "less than or equal to 200"),
        (GatewaySettings, "MAX_LABELS", "-1", "greater than or equal to 0"),
        (GatewaySettings, "BODY_TIMEOUT_SECONDS", "0", "greater than 0"),
        (GatewaySettings, "BODY_TIMEOUT_SECONDS", "nan", "greater than 0"),
        (GatewaySettings, "RECONCILE_INTERVAL_SECONDS", "soon", "valid number"),
        (GatewaySettings, "ALLOWED_HOSTS", "https://jobs.example.com", "names of hosts"),
        (GatewaySettings, "ALLOWED_HOSTS", "jobs.example.com:8000", "names of hosts"),
        (GatewaySettings, "ALLOWED_HOSTS", "a.example.com b.example.com", "names of hosts"),
        (GatewaySettings, "ALLOWED_HOSTS", "*example.com", "names of hosts"),
        (LedgerSettings, "LEDGER_URL", "mysql://localhost/x", "match pattern"),
        (LedgerSettings, "LEDGER_URL", "sqlite:///", "match pattern"),
        (LedgerSettings, "LEDGER_URL", "ledger.db", "match pattern"),
        (WorkerSettings, "WORKER_SLOTS", "0", "greater than or equal to 1"),
        (WorkerSettings, "MAX_CHUNK_RESULT_BYTES", "8MB", "valid integer"),
        (WorkerSettings, "SHUTDOWN_GRACE_SECONDS", "-1", "greater than or equal to 0"),
        (WorkerSettings, "WORKFLOW_SANDBOX", "perhaps", "valid boolean"),
        (StackSettings, "TEMPORAL_PORT", "99999", "less than or equal to 65535"),
        (StackSettings, "WORKERS", "0", "greater than or equal to 1"),
    ],
)
def test_a_wrong_setting_gives_one_line_that_names_it(
    monkeypatch: pytest.MonkeyPatch, kind: type[LedgerSettings], name: str, value: str, why: str
) -> None:
    monkeypatch.setenv(f"FANFOLD_{name}", value)
    with pytest.raises(InvalidSettings) as refused:
        load(kind)
    message = str(refused.value)
    assert message.startswith(f"FANFOLD_{name}: ")
    assert why in message
    assert "\n" not in message


def test_all_wrong_settings_are_named_at_once(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("FANFOLD_HTTP_PORT", "x")
    monkeypatch.setenv("FANFOLD_MAX_CHUNKS", "y")
    with pytest.raises(InvalidSettings, match=r"^FANFOLD_HTTP_PORT: .+; FANFOLD_MAX_CHUNKS: .+$"):
        load(GatewaySettings)


def test_a_wrong_setting_is_not_repeated_since_it_may_hold_a_password(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setenv("FANFOLD_LEDGER_URL", "postgres:/fanfold:hunter2@db/fanfold")
    with pytest.raises(InvalidSettings) as refused:
        load(WorkerSettings)
    assert "hunter2" not in str(refused.value)


def test_settings_are_read_from_the_environment(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("FANFOLD_DATA_DIR", "/somewhere")
    monkeypatch.setenv("FANFOLD_MAX_LABELS", "0")
    settings = load(GatewaySettings)
    assert settings.max_labels == 0
    assert settings.ledger == "sqlite:////somewhere/ledger.db"
    assert settings.data_dir == Path("/somewhere")


@pytest.mark.parametrize(
    "url", ["sqlite:////tmp/x.db", "sqlite:///x.db", "postgres://db/x", "postgresql://u@db:1/x"]
)
def test_a_ledger_url_stands_above_the_data_directory(
    monkeypatch: pytest.MonkeyPatch, url: str
) -> None:
    monkeypatch.setenv("FANFOLD_LEDGER_URL", url)
    assert load(LedgerSettings).ledger == url


@pytest.mark.parametrize("kind", KINDS)
def test_a_ledger_url_can_be_required(
    monkeypatch: pytest.MonkeyPatch, kind: type[LedgerSettings]
) -> None:
    monkeypatch.setenv("FANFOLD_REQUIRE_LEDGER_URL", "true")
    for empty in (None, ""):
        if empty is not None:
            monkeypatch.setenv("FANFOLD_LEDGER_URL", empty)
        with pytest.raises(InvalidSettings, match=r"^FANFOLD_LEDGER_URL: must be set[^\n]+$"):
            load(kind)
    monkeypatch.setenv("FANFOLD_LEDGER_URL", "postgresql://db/x")
    assert load(kind).ledger == "postgresql://db/x"


@pytest.mark.parametrize(
    ("text", "hosts"),
    [
        ("", ()),
        ("gateway,", ("gateway",)),
        (" Jobs.Example.com. , *.internal,*", ("Jobs.Example.com.", "*.internal", "*")),
        ("192.168.1.5, [::1],fe80::1", ("192.168.1.5", "[::1]", "fe80::1")),
    ],
)
def test_allowed_hosts_are_a_list_with_commas(
    monkeypatch: pytest.MonkeyPatch, text: str, hosts: tuple[str, ...]
) -> None:
    monkeypatch.setenv("FANFOLD_ALLOWED_HOSTS", text)
    assert load(GatewaySettings).allowed_hosts == hosts


@pytest.mark.parametrize(
    ("text", "processors"),
    [
        ("", ()),
        ("a.b:c", ("a.b:c",)),
        (" a:b , c.d:e ,, ", ("a:b", "c.d:e")),
    ],
)
def test_processors_are_a_list_with_commas(
    monkeypatch: pytest.MonkeyPatch, text: str, processors: tuple[str, ...]
) -> None:
    monkeypatch.setenv("FANFOLD_PROCESSORS", text)
    assert load(WorkerSettings).processors == processors


def test_settings_of_other_parts_are_no_error(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("FANFOLD_WORKER_SLOTS", "not a number")
    monkeypatch.setenv("FANFOLD_NEW_IN_A_LATER_RELEASE", "1")
    assert load(GatewaySettings).http_port == 8000
