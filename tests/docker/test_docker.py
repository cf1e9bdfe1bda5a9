"""The container files say what the project is; what the entry point runs is run here, without an engine."""

import fnmatch
import os
import re
import subprocess
import sys
import tomllib
import urllib.request
import zipfile
from pathlib import Path
from typing import Any

import pytest
import yaml
from dockerfile import Instruction, stages
from support.served import ROOT, served, verify

from gateway.settings import ServerSettings, load_settings

DOCKER = ROOT / "docker"
PREAMBLE, BUILD, RUNTIME = stages(DOCKER / "Dockerfile")
COMPOSE: dict[str, Any] = yaml.safe_load((DOCKER / "compose.yaml").read_text("utf-8"))
SERVICES: dict[str, Any] = COMPOSE["services"]
SETTINGS = load_settings(DOCKER / "gateway.yaml", {})
PORT = ServerSettings().port


def only(stage: list[Instruction], keyword: str) -> Instruction:
    (found,) = [instruction for instruction in stage if instruction.keyword == keyword]
    return found


def variables(stage: list[Instruction]) -> dict[str, str]:
    return dict(pair.split("=", 1) for i in stage if i.keyword == "ENV" for pair in i.words)


class TestDockerfile:
    def test_both_stages_have_one_base_that_can_be_pinned_by_digest(self) -> None:
        arguments = dict(i.rest.split("=", 1) for i in PREAMBLE if i.keyword == "ARG")
        assert re.fullmatch(r"3\.12(\.\d+)?-slim-\w+", arguments["PYTHON_TAG"])
        assert "PYTHON_DIGEST" in arguments
        bases = {stage[0].words[0] for stage in (BUILD, RUNTIME)}
        assert bases == {"python:${PYTHON_TAG}${PYTHON_DIGEST:+@$PYTHON_DIGEST}"}

    def test_it_installs_the_lock_with_hashes_and_nothing_else_from_outside(self) -> None:
        installs = [i.rest for i in BUILD if i.keyword == "RUN" and "pip install" in i.rest]
        assert len(installs) == 2
        assert "--require-hashes --no-deps -r requirements.lock" in installs[0]
        assert "--no-deps --no-build-isolation --no-index ." in installs[1]

    def test_what_it_copies_exists_and_reaches_the_build(self) -> None:
        ignore = [
            line
            for line in (DOCKER / "Dockerfile.dockerignore").read_text("utf-8").splitlines()
            if line and not line.startswith("#")
        ]
        assert ignore[0] == "*"
        let_in = {line[1:] for line in ignore if line.startswith("!")}
        copied = {
            source
            for instruction in (*BUILD, *RUNTIME)
            if instruction.keyword == "COPY" and "--from=build" not in instruction.words
            for source in instruction.words[:-1]
        }
        assert copied == let_in
        assert [source for source in copied if not (ROOT / source).exists()] == []
        assert not any(
            fnmatch.fnmatch(secret, pattern) for pattern in let_in for secret in ("docker/.env", "var", ".git")
        )

    def test_everything_the_package_is_built_from_is_copied(self) -> None:
        project = tomllib.loads((ROOT / "pyproject.toml").read_text("utf-8"))
        needed = {
            project["project"]["readme"],
            *project["project"]["license-files"],
            *project["tool"]["hatch"]["build"]["targets"]["wheel"]["packages"],
        }
        copied = {word for i in BUILD if i.keyword == "COPY" for word in i.words[:-1]}
        assert needed <= copied

    def test_it_runs_as_nobody_in_particular_and_writes_to_its_volume(self) -> None:
        user = only(RUNTIME, "USER").rest
        assert re.fullmatch(r"[1-9]\d{3,}:[1-9]\d{3,}", user)
        assert RUNTIME.index(only(RUNTIME, "USER")) < RUNTIME.index(only(RUNTIME, "ENTRYPOINT"))
        (volume,) = only(RUNTIME, "VOLUME").words
        assert variables(RUNTIME)["GATEWAY_DATA_DIR"] == volume
        assert variables(RUNTIME)["PYTHONDONTWRITEBYTECODE"] == "1"

    def test_it_serves_on_the_port_it_exposes_and_asks_its_health_there(self) -> None:
        assert only(RUNTIME, "ENTRYPOINT").words == ["gateway"]
        assert only(RUNTIME, "CMD").words == ["serve", "--host", "0.0.0.0"]
        assert only(RUNTIME, "EXPOSE").rest == str(PORT)
        assert f"http://127.0.0.1:{PORT}/health/ready" in only(RUNTIME, "HEALTHCHECK").rest

    def test_the_entry_point_is_a_script_of_the_package(self) -> None:
        project = tomllib.loads((ROOT / "pyproject.toml").read_text("utf-8"))["project"]
        assert set(only(RUNTIME, "ENTRYPOINT").words) <= set(project["scripts"])

    def test_nothing_reports_home(self) -> None:
        assert variables(RUNTIME)["ORT_DISABLE_TELEMETRY"] == "1"
        assert variables(RUNTIME)["HF_HUB_OFFLINE"] == "1"

    def test_the_environment_it_sets_is_accepted(self) -> None:
        own = {name: value for name, value in variables(RUNTIME).items() if name.startswith("GATEWAY_")}
        assert str(load_settings(None, own).data_dir) == "/data"


class TestCompose:
    def test_images_have_versions(self) -> None:
        for name, service in SERVICES.items():
            tag = service["image"].rpartition(":")[2]
            assert re.match(r"\d+\.\d+", tag), f"{name}: {tag}"

    def test_the_gateways_image_has_the_version_of_the_project(self) -> None:
        version = tomllib.loads((ROOT / "pyproject.toml").read_text("utf-8"))["project"]["version"]
        assert SERVICES["gateway"]["image"] == f"answer-gateway:{version}"

    def test_only_the_gateway_is_published_and_only_on_loopback(self) -> None:
        published = {name: service["ports"] for name, service in SERVICES.items() if "ports" in service}
        assert published == {"gateway": [f"127.0.0.1:{PORT}:{SETTINGS.server.port}"]}

    def test_the_gateway_can_change_nothing_but_its_data(self) -> None:
        gateway = SERVICES["gateway"]
        assert gateway["read_only"] is True
        assert gateway["cap_drop"] == ["ALL"]
        assert gateway["security_opt"] == ["no-new-privileges:true"]
        writable = [mount for mount in gateway["volumes"] if not mount.endswith(":ro")]
        assert writable == [f"data:{SETTINGS.data_dir}"]

    def test_mounted_files_exist_and_are_where_settings_look(self) -> None:
        mounts = dict(mount.split(":")[:2] for mount in SERVICES["gateway"]["volumes"])
        for source, target in mounts.items():
            if source.startswith("."):
                assert (DOCKER / source).exists(), source
            else:
                assert source in COMPOSE["volumes"]
            assert target.startswith("/")
        assert SERVICES["gateway"]["environment"]["GATEWAY_CONFIG"] in mounts.values()
        for policies in SETTINGS.policies:
            [(source, target)] = [m for m in mounts.items() if policies.is_relative_to(m[1])]
            assert (DOCKER / source / policies.relative_to(target)).is_dir()

    def test_stores_have_no_way_out_and_the_gateway_finds_them(self) -> None:
        assert COMPOSE["networks"]["stores"]["internal"] is True
        for store in (SETTINGS.retrieval.weaviate_host, "redis", "postgres"):
            assert SERVICES[store]["networks"] == ["stores"]
            assert store in SERVICES["gateway"]["depends_on"]
        assert "@redis:6379/" in SERVICES["gateway"]["environment"]["REDIS_URL"]
        database = SERVICES["postgres"]["environment"]
        place = f"@postgres:5432/{database['POSTGRES_DB']}"
        url = SERVICES["gateway"]["environment"]["CASES_URL"]
        assert url.startswith(f"postgresql://{database['POSTGRES_USER']}:")
        assert url.endswith(place)
        assert SETTINGS.cases.store == "postgres"
        assert str(SETTINGS.retrieval.weaviate_http_port) in SERVICES["weaviate"]["command"]

    def test_stores_keep_quiet_and_ask_for_keys(self) -> None:
        weaviate = SERVICES["weaviate"]["environment"]
        assert weaviate["DISABLE_TELEMETRY"] == "true"
        assert weaviate["AUTHENTICATION_ANONYMOUS_ACCESS_ENABLED"] == "false"
        assert "--requirepass" in SERVICES["redis"]["command"]

    def test_no_secret_stands_in_the_file_and_every_secret_reaches_the_gateway(self) -> None:
        text = (DOCKER / "compose.yaml").read_text("utf-8")
        for name, _ in re.findall(r"(\w*(?:PASSWORD|API_KEY|ALLOWED_KEYS)\w*): \"?([^$\s\"][^\n]*)", text):
            assert name == "AUTHENTICATION_APIKEY_ENABLED", f"{name} holds a literal"
        assert re.findall(r"\$\{(\w+)\}", text) == [], "a secret that is missing must stop the start"
        named = {SETTINGS.limits.redis_url, SETTINGS.retrieval.weaviate_api_key, SETTINGS.cases.postgres_url}
        assert {f"env:{name}" for name in SERVICES["gateway"]["environment"]} >= named

    def test_the_command_that_makes_the_secrets_makes_all_of_them(self) -> None:
        asked = set(re.findall(r"\$\{(\w+):\?", (DOCKER / "compose.yaml").read_text("utf-8")))
        (made,) = re.findall(r"^for name in ([A-Z_ ]+); do", (DOCKER / "README.md").read_text("utf-8"), re.MULTILINE)
        assert set(made.split()) == asked

    def test_the_database_writes_to_its_volume_and_to_memory_alone(self) -> None:
        postgres = SERVICES["postgres"]
        assert postgres["read_only"] is True
        assert [mount.split(":")[0] for mount in postgres["volumes"]] == ["cases"]
        assert "cases" in COMPOSE["volumes"]

    def test_the_console_is_served_where_the_port_is_published(self) -> None:
        assert SETTINGS.console.enabled
        assert SETTINGS.console.public_url == "", "on loopback alone, as the port"

    def test_redis_keeps_nothing(self) -> None:
        command = SERVICES["redis"]["command"]
        assert command[command.index("--save") + 1] == ""
        assert command[command.index("--appendonly") + 1] == "no"

    def test_a_stop_waits_longer_than_the_gateway_needs(self) -> None:
        assert int(SERVICES["gateway"]["stop_grace_period"].removesuffix("s")) > SETTINGS.server.shutdown_grace_s

    def test_the_local_model_is_started_on_request_only(self) -> None:
        (local,) = [model for model in SETTINGS.models if model.provider == "openai"]
        host = re.match(r"http://([\w-]+):\d+/v1$", local.base_url)
        assert host
        assert SERVICES[host[1]]["profiles"] == ["local-model"]
        assert set(SERVICES[host[1]]["networks"]) & set(SERVICES["gateway"]["networks"])
        assert local.fallbacks == ("extractive",)


def test_the_wheel_holds_every_file_of_the_packages(tmp_path: Path) -> None:
    """What `pip install .` puts into the image: code, models, word lists, the sample corpus."""
    done = subprocess.run(
        [sys.executable, "-m", "hatchling", "build", "--target", "wheel", "--directory", str(tmp_path)],
        cwd=ROOT,
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 0, done.stderr
    (wheel,) = tmp_path.glob("*.whl")
    inside = set(zipfile.ZipFile(wheel).namelist())
    listed = subprocess.run(["git", "ls-files", "-z", "gateway", "rules"], cwd=ROOT, capture_output=True, check=False)
    wanted = set(filter(None, listed.stdout.decode().split("\0"))) or {"gateway/__main__.py", "rules/__init__.py"}
    assert {file for file in wanted if (ROOT / file).exists()} - inside == set()


@pytest.mark.slow
def test_what_the_container_runs_serves_and_writes_to_its_data_alone(tmp_path: Path) -> None:
    """The entry point with the settings of the compose file; the stores of a machine without containers stand in
    for Weaviate and PostgreSQL, and Redis is not there: limits are then kept in the process."""
    config = tmp_path / "gateway.yaml"
    text = (DOCKER / "gateway.yaml").read_text("utf-8")
    settings = yaml.safe_load(text.replace("/etc/gateway/policies", str(ROOT / "policies")))
    config.write_text(yaml.safe_dump(settings | {"cases": {"store": "sqlite"}}))
    home = tmp_path / "home"
    home.mkdir()
    environ = {
        **{name: value for name, value in variables(RUNTIME).items() if name not in {"PATH", "HOME"}},
        "GATEWAY_DATA_DIR": str(tmp_path / "data"),
        "GATEWAY_RETRIEVAL_STORE": "embedded",
        "WEAVIATE_API_KEY": "unused",
        "REDIS_URL": os.environ.get("GATEWAY_TEST_REDIS", "redis://127.0.0.1:1/0"),
        "HOME": str(home),
    }
    with served(config, *only(RUNTIME, "CMD").words[1:], environ=environ) as gateway:
        command = only(RUNTIME, "HEALTHCHECK").rest.partition(" CMD ")[2]
        check = Instruction("CMD", command.replace(f":{PORT}/", f":{gateway.port}/")).words
        assert check[0] == "python"
        assert subprocess.run([sys.executable, *check[1:]], check=False, timeout=30).returncode == 0
        with urllib.request.urlopen(f"http://127.0.0.1:{gateway.port}/console/sign-in", timeout=30) as page:
            assert page.status == 200
    assert subprocess.run([sys.executable, *check[1:]], check=False, capture_output=True).returncode != 0
    assert sorted(home.rglob("*")) == []
    assert (tmp_path / "data" / "audit.db").exists()
    config.write_text(config.read_text().replace("data_dir: /data", f"data_dir: {tmp_path / 'data'}"))
    assert verify(config)[0] == 0
