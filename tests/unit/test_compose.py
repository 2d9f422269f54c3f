"""docker-compose.yml names only what the code and the images have, and gives nothing away."""

import os
import re
from datetime import timedelta
from pathlib import Path
from urllib.parse import urlsplit

import pytest
import yaml
from temporalio.envconfig import ClientConfig

from fanfold.contract import settings
from fanfold.contract.temporal import DEFAULT_ADDRESS
from fanfold.contract.version import VERSION
from tests.unit.deployment_files import (
    COMPOSE,
    COMPOSE_TEXT,
    EXAMPLE_TEXT,
    LOOKS_SECRET,
    ROOT,
    SERVICES,
    SETTINGS,
    VARIABLE,
    copied,
    environment,
    filled_in,
    instructions,
    one_shot_services,
)

TEMPORAL_PORT = DEFAULT_ADDRESS.rpartition(":")[2]


def duration(text: str) -> timedelta:
    found = re.fullmatch(r"(\d+)s", text)
    assert found is not None, text
    return timedelta(seconds=int(found[1]))


@pytest.mark.parametrize("service", SETTINGS)
def test_compose_builds_the_target_of_the_same_name_and_tags_it_with_this_version(
    service: str,
) -> None:
    build = SERVICES[service]["build"]
    assert {name: build[name] for name in ("context", "target")} == {
        "context": ".",
        "target": service,
    }
    assert filled_in(SERVICES[service]["image"]) == f"fanfold-{service}:{VERSION}"


@pytest.mark.parametrize("service", SETTINGS)
def test_compose_hands_on_only_build_arguments_that_the_dockerfile_takes(service: str) -> None:
    build = instructions(f"{service}-environment")
    taken = {name for words in build if words[0] == "ARG" for name in words[1:]}
    assert taken == {"PIP_INDEX_URL", "PIP_EXTRA_INDEX_URL", "PIP_TRUSTED_HOST"}
    assert set(SERVICES[service]["build"]["args"]) == taken | {"PYTHON_IMAGE"}
    assert "ARG PYTHON_IMAGE=" in (ROOT / "Dockerfile").read_text()


@pytest.mark.parametrize("service", SETTINGS)
def test_the_code_knows_and_accepts_every_setting_of_a_service(
    service: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    for name in [name for name in os.environ if name.startswith("FANFOLD_")]:
        monkeypatch.delenv(name)
    given = {k: v for k, v in environment(service).items() if k.startswith("FANFOLD_")}
    fields = {name.removeprefix("FANFOLD_").lower() for name in given}
    assert fields <= set(SETTINGS[service].model_fields)
    for name, value in given.items():
        monkeypatch.setenv(name, value)
    assert settings.load(SETTINGS[service]).ledger == "postgresql://fanfold@postgres:5432/fanfold"


def test_every_fanfold_variable_that_a_user_may_set_is_a_setting_of_the_code() -> None:
    kinds: list[type[settings.LedgerSettings]] = [*SETTINGS.values(), settings.StackSettings]
    known = {f"FANFOLD_{field.upper()}" for kind in kinds for field in kind.model_fields}
    used = set(re.findall(r"\bFANFOLD_\w+", COMPOSE_TEXT + EXAMPLE_TEXT))
    assert "FANFOLD_HTTP_PORT" in used
    assert used <= known


@pytest.mark.parametrize("service", SETTINGS)
def test_the_temporal_variables_are_the_standard_ones(service: str) -> None:
    given = {k: v for k, v in environment(service).items() if k.startswith("TEMPORAL_")}
    understood = ClientConfig.load_client_connect_config(disable_file=True, override_env_vars=given)
    assert understood == {"target_host": f"temporal:{TEMPORAL_PORT}", "namespace": "default"}
    assert len(given) == len(understood)


def test_ports_are_the_defaults_of_the_code() -> None:
    http = settings.GatewaySettings.model_fields["http_port"].default
    assert "${FANFOLD_HTTP_PORT:-" in SERVICES["gateway"]["ports"][0]
    assert filled_in(SERVICES["gateway"]["ports"][0]).endswith(f":{http}:{http}")
    assert "FANFOLD_HTTP_PORT" not in environment("gateway")
    ui = settings.StackSettings.model_fields["temporal_ui_port"].default
    assert f":{ui}:" in filled_in(SERVICES["temporal-ui"]["ports"][0])
    assert environment("gateway")["FANFOLD_TEMPORAL_UI_URL"].endswith(f":{ui}")
    assert SERVICES["temporal"]["healthcheck"]["test"][-1] == TEMPORAL_PORT
    for service in ("gateway", "worker", "temporal-ui", "temporal-namespace"):
        assert environment(service)["TEMPORAL_ADDRESS"] == f"temporal:{TEMPORAL_PORT}"


def test_only_the_gateway_and_temporal_s_page_are_published_and_both_to_this_machine() -> None:
    published = {name: service["ports"] for name, service in SERVICES.items() if "ports" in service}
    assert set(published) == {"gateway", "temporal-ui"}
    for ports in published.values():
        assert all(filled_in(port).startswith("127.0.0.1:") for port in ports)


@pytest.mark.parametrize("service", sorted(set(SERVICES) - one_shot_services()))
def test_a_long_running_service_has_a_health_check_and_is_started_again(service: str) -> None:
    check = SERVICES[service]["healthcheck"]
    assert check["test"][0] == "CMD"
    assert duration(check["timeout"]) <= duration(check["interval"])
    assert check["retries"] > 0
    assert SERVICES[service]["restart"] == "unless-stopped"


@pytest.mark.parametrize("service", ["temporal-schema", "temporal-namespace"])
def test_what_sets_temporal_up_is_a_script_tried_a_few_times(service: str) -> None:
    assert service in one_shot_services()
    assert SERVICES[service]["restart"].startswith("on-failure:")
    shell, script = SERVICES[service]["entrypoint"]
    assert shell == "/bin/sh"
    source, target, _ = SERVICES[service]["volumes"][0].split(":")
    path = ROOT / source / Path(script).relative_to(target)
    assert path.read_text().startswith("#!/bin/sh\n")


def test_a_service_waits_for_others_by_a_condition_that_they_can_meet() -> None:
    waits = 0
    for service in SERVICES.values():
        for name, needed in service.get("depends_on", {}).items():
            waits += 1
            assert needed["condition"] != "service_started"
            assert ("healthcheck" in SERVICES[name]) == (needed["condition"] == "service_healthy")
    assert waits


def test_the_gateway_s_health_check_calls_a_path_of_the_gateway() -> None:
    executable, flag, program = SERVICES["gateway"]["healthcheck"]["test"][1:]
    assert (executable, flag) == ("python", "-c")
    compile(program, "health check", "exec")
    url = urlsplit(re.findall(r'"(http[^"]+)"', program)[0])
    assert url.port == settings.GatewaySettings.model_fields["http_port"].default
    assert url.path in yaml.safe_load((ROOT / "openapi.yaml").read_text())["paths"]


def test_the_worker_s_health_check_is_a_script_in_its_image() -> None:
    executable, script = SERVICES["worker"]["healthcheck"]["test"][1:]
    assert executable == "python"
    assert f"deploy/{script}" in copied("worker")


def test_a_stopping_worker_has_the_time_that_its_setting_promises() -> None:
    grace = timedelta(seconds=float(environment("worker")["FANFOLD_SHUTDOWN_GRACE_SECONDS"]))
    assert duration(SERVICES["worker"]["stop_grace_period"]) >= grace + timedelta(seconds=10)


def test_volumes_are_declared_and_mounted_directories_exist_and_are_read_only() -> None:
    mounts = [
        mount.split(":") for service in SERVICES.values() for mount in service.get("volumes", [])
    ]
    assert {source for source, *_ in mounts if not source.startswith("./")} == set(
        COMPOSE["volumes"]
    )
    for source, _, mode in (mount for mount in mounts if mount[0].startswith("./")):
        assert (ROOT / source).is_dir()
        assert mode == "ro"


def test_temporal_s_dynamic_configuration_is_where_the_server_looks_for_it() -> None:
    source, target, _ = SERVICES["temporal"]["volumes"][0].split(":")
    looked_for = Path(environment("temporal")["DYNAMIC_CONFIG_FILE_PATH"])
    loaded = yaml.safe_load((ROOT / source / looked_for.relative_to(target)).read_text())
    assert loaded["history.maximumBufferedEventsBatch"] == [{"value": 1000}]


def test_no_password_is_in_the_files_and_none_has_a_default() -> None:
    secrets = 0
    for service in SERVICES.values():
        for name, value in service.get("environment", {}).items():
            assert urlsplit(value).password is None, name
            if LOOKS_SECRET.search(name):
                secrets += 1
                assert re.fullmatch(r"\$\{[A-Z_]+:\?[^}]+\}", value), name
    assert secrets >= 6
    for name, value in re.findall(r"^#? ?(\w+)=(.*)$", EXAMPLE_TEXT, re.MULTILINE):
        assert not (LOOKS_SECRET.search(name) and value), name


def test_the_example_names_exactly_what_can_be_set_and_the_guide_explains_it() -> None:
    variables = {found["name"]: found["kind"] for found in VARIABLE.finditer(COMPOSE_TEXT)}
    images = {name for name in variables if name.endswith(("_VERSION", "_IMAGE"))}
    example = re.findall(r"^(# )?(\w+)=", EXAMPLE_TEXT, re.MULTILINE)
    assert {name for _, name in example} == set(variables) - images
    required = {name for name, kind in variables.items() if kind == "?"}
    assert {name for commented, name in example if not commented} == required
    guide = (ROOT / "docs" / "howto" / "deploy.md").read_text()
    assert not [name for name in variables if f"`{name}`" not in guide]


@pytest.mark.parametrize("service", sorted(SERVICES))
def test_an_image_is_pinned_to_a_version_that_a_variable_can_change(service: str) -> None:
    image = SERVICES[service]["image"]
    assert VARIABLE.search(image)
    assert re.match(r"\d", filled_in(image).rpartition(":")[2])


def test_temporal_s_server_and_the_tools_that_set_it_up_are_of_one_version() -> None:
    services = (*one_shot_services(), "temporal")
    assert len({SERVICES[name]["image"].partition(":")[2] for name in services}) == 1


def test_the_deprecated_image_that_sets_temporal_up_by_itself_is_nowhere() -> None:
    files = [ROOT / "Dockerfile", ROOT / "docker-compose.yml", ROOT / ".env.example"]
    files += [path for path in (ROOT / "deploy").rglob("*") if path.suffix in {".sh", ".yaml"}]
    assert len(files) >= 7
    assert not [path for path in files if "auto-setup" in path.read_text()]


@pytest.mark.parametrize("service", SETTINGS)
def test_gateway_and_worker_can_neither_write_their_image_nor_gain_rights(service: str) -> None:
    assert SERVICES[service]["read_only"] is True
    assert SERVICES[service]["cap_drop"] == ["ALL"]
    assert SERVICES[service]["security_opt"] == ["no-new-privileges:true"]
