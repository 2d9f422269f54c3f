"""Two images from one Dockerfile: each holds its own packages, and nothing it does not need."""

import importlib.util
from pathlib import Path

import pytest

from fanfold.contract import settings
from tests.unit.deployment_files import LOOKS_SECRET, ROOT, SETTINGS, copied, instructions

BOTH = {
    "answers",
    "contract",
    "fanfold/__init__.py",
    "fanfold/processing.py",
    "fanfold/py.typed",
    "intake",
    "ledger",
}
PACKAGES = {
    "gateway": BOTH | {"app"},
    "worker": BOTH | {"client", "workers", "deploy/worker_is_polling.py"},
}


@pytest.mark.parametrize("target", SETTINGS)
def test_an_image_holds_the_packages_of_its_deployment_and_no_other(target: str) -> None:
    assert copied(target) == PACKAGES[target]
    assert all((ROOT / source).exists() for source in copied(target))


@pytest.mark.parametrize("target", SETTINGS)
def test_an_image_installs_its_own_locked_requirements_with_hashes(target: str) -> None:
    build = instructions(f"{target}-environment")
    lock = f"requirements/{target}.txt"
    copies = [words for words in build if words[0] == "COPY"]
    installs = [words for words in build if "install" in words]
    assert [words[1] for words in copies] == [lock]
    assert len(installs) == 1
    assert "--require-hashes" in installs[0]
    assert installs[0][-2:] == ["-r", copies[0][2]]
    assert "--hash=sha256:" in (ROOT / lock).read_text()
    taken = [words for words in instructions(target) if words[:1] == ["COPY"]]
    sources = [words[1] for words in taken if words[1].startswith("--from")]
    assert sources == [f"--from={target}-environment"]


@pytest.mark.parametrize("target", SETTINGS)
def test_an_image_runs_a_module_that_exists(target: str) -> None:
    command = [words for words in instructions(target) if words[0] == "CMD"][-1]
    executable, flag, module = (word.strip("[],") for word in command[1:])
    assert (executable, flag) == ("python", "-m")
    assert module.split(".")[1] in PACKAGES[target]
    found = importlib.util.find_spec(module)
    assert found is not None
    assert found.origin is not None
    assert 'if __name__ == "__main__":' in Path(found.origin).read_text()


@pytest.mark.parametrize("target", SETTINGS)
def test_an_image_does_not_run_as_root(target: str) -> None:
    users = [words[1] for words in instructions(target) if words[0] == "USER"]
    assert users
    # A number: a cluster that forbids root cannot tell whom a name stands for.
    assert int(users[-1]) > 0
    (creation,) = [words for words in instructions(target) if "useradd" in words]
    assert creation[creation.index("--uid") + 1] == users[-1]


@pytest.mark.parametrize("target", SETTINGS)
def test_an_image_without_a_ledger_url_does_not_start_on_a_file_of_its_own(
    target: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.delenv("FANFOLD_LEDGER_URL", raising=False)
    for words in instructions(target):
        for name, _, value in (word.partition("=") for word in words[1:] if words[0] == "ENV"):
            if name.startswith("FANFOLD_"):
                monkeypatch.setenv(name, value)
    with pytest.raises(settings.InvalidSettings, match="FANFOLD_LEDGER_URL"):
        settings.load(SETTINGS[target])


@pytest.mark.parametrize("target", SETTINGS)
def test_an_image_holds_no_secret_and_sets_only_what_the_code_knows(target: str) -> None:
    lines = [words for words in instructions(target) if words[0] in {"ENV", "ARG"}]
    names = {word.partition("=")[0] for words in lines for word in words[1:]}
    assert not [name for name in names if LOOKS_SECRET.search(name)]
    known = {f"FANFOLD_{field.upper()}" for field in SETTINGS[target].model_fields}
    assert {name for name in names if name.startswith("FANFOLD_")} <= known


def test_the_gateway_s_image_says_which_port_the_gateway_listens_on() -> None:
    port = settings.GatewaySettings.model_fields["http_port"].default
    assert [words for words in instructions("gateway") if words[0] == "EXPOSE"] == [
        ["EXPOSE", str(port)]
    ]


def test_the_build_context_holds_what_the_images_copy_and_nothing_else() -> None:
    lines = (ROOT / ".dockerignore").read_text().splitlines()
    rules = [line for line in lines if line and not line.startswith("#")]
    assert rules[0] == "*"
    allowed = {rule.removeprefix("!") for rule in rules if rule.startswith("!")}
    locks = {f"requirements/{target}.txt" for target in SETTINGS}
    assert allowed == copied("gateway") | copied("worker") | locks
