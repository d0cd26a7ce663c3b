"""compose.yaml puts together what is there, with settings that exist, and gives everyone the time they need to stop."""

from __future__ import annotations

import re
from typing import Any

import pytest
import yaml

from gigachat_server import settings
from gigachat_server.serving.server import _GRACE_S
from gigachat_server.settings import Settings
from tests.deploy.dockerfile import ROOT, Dockerfile

COMPOSE: dict[str, Any] = yaml.safe_load((ROOT / "compose.yaml").read_text())
SERVICES: dict[str, dict[str, Any]] = COMPOSE["services"]
NODES = {name: service for name, service in SERVICES.items() if name.startswith("gigachat")}
EXAMPLE = (ROOT / ".env.example").read_text()
KNOWN = {info.variable for info in settings.table()}


def seconds(text: str) -> float:
    (found,) = re.findall(r"^(\d+)s$", text)
    return float(found)


def variables(text: str) -> set[str]:
    """That a file of variables sets, also those that it has commented out."""
    return set(re.findall(r"^(?:# )?([A-Z_]+)=", text, re.MULTILINE))


def test_every_file_that_it_names_exists() -> None:
    mounted = [volume.split(":")[0] for service in SERVICES.values() for volume in service.get("volumes", ())]
    files = [name for name in mounted if name.startswith(".")]
    assert files and [name for name in files if not (ROOT / name).is_file()] == []
    assert {name for name in mounted if not name.startswith(".")} == set(COMPOSE["volumes"])
    builds = [service["build"] for service in SERVICES.values() if "build" in service]
    assert builds == ["."], "one node builds the image of all"
    assert {(node["image"], node["pull_policy"]) for node in NODES.values()} == {("gigachat:local", "never")}


def test_every_setting_that_it_sets_exists() -> None:
    for node in NODES.values():
        assert set(node["environment"]) <= KNOWN
        assert node["env_file"] == ".env"
    assert {name for name in variables(EXAMPLE) if name.startswith("GIGACHAT_")} <= KNOWN


def test_every_variable_that_it_needs_is_in_the_example() -> None:
    needed = set(re.findall(r"\$\{(\w+):\?", (ROOT / "compose.yaml").read_text()))
    optional = set(re.findall(r"\$\{(\w+):-", (ROOT / "compose.yaml").read_text()))
    assert needed == {"POSTGRES_PASSWORD"}
    assert needed <= variables(EXAMPLE)
    assert optional <= variables(EXAMPLE) | KNOWN


def test_no_secret_is_written_down() -> None:
    ignored = (ROOT / ".gitignore").read_text().splitlines()
    assert ".env" in ignored
    secrets = {info.variable for info in settings.table() if info.secret} | {"POSTGRES_PASSWORD"}
    for name in secrets & variables(EXAMPLE):
        assert re.search(rf"^(?:# )?{name}=$", EXAMPLE, re.MULTILINE), f"{name} has a value"
    for service in SERVICES.values():
        for name, value in service.get("environment", {}).items():
            assert name not in secrets or "${" in value, name
    assert "gigachat:${POSTGRES_PASSWORD" in NODES["gigachat1"]["environment"]["GIGACHAT_DATABASE_URL"]


def test_the_example_is_one_that_gigachat_starts_with() -> None:
    given = dict(re.findall(r"^(GIGACHAT_[A-Z_]+)=(.*)$", EXAMPLE, re.MULTILINE))
    assert settings.load(environment=given) == Settings()
    uncommented = dict(re.findall(r"^(?:# )?(GIGACHAT_[A-Z_]+)=(.*)$", EXAMPLE, re.MULTILINE))
    assert settings.load(environment=uncommented).model == "llama3.2"


def test_everyone_may_end_what_they_do() -> None:
    for node in NODES.values():
        patience_s = Settings().shutdown_timeout_s + _GRACE_S
        assert seconds(node["stop_grace_period"]) >= patience_s + 5
        assert node["init"], "the first process gets no signal that it has not asked for"
    nginx = (ROOT / "deploy" / "nginx.conf").read_text()
    (worker_s,) = re.findall(r"^worker_shutdown_timeout (\d+)s;", nginx, re.MULTILINE)
    assert seconds(SERVICES["nginx"]["stop_grace_period"]) > float(worker_s) >= Settings().shutdown_timeout_s
    assert {service["restart"] for service in SERVICES.values()} == {"unless-stopped"}


def test_each_waits_for_what_it_needs_to_be_healthy() -> None:
    def needs(name: str) -> dict[str, str]:
        return {on: wanted["condition"] for on, wanted in SERVICES[name].get("depends_on", {}).items()}

    assert {name: needs(name) for name in NODES} == {name: {"postgres": "service_healthy"} for name in NODES}
    assert needs("nginx") == dict.fromkeys(NODES, "service_healthy")
    assert Dockerfile(ROOT / "Dockerfile").health[1], "which the nodes have from their image"
    assert all("healthcheck" in SERVICES[name] for name in ("postgres", "nginx"))


def test_nginx_knows_every_node_and_is_the_only_one_that_can_be_reached() -> None:
    config = (ROOT / "deploy" / "nginx.conf").read_text()
    assert re.findall(r"^\s*server (\w+):8000 resolve ", config, re.MULTILINE) == sorted(NODES)
    assert [name for name, service in SERVICES.items() if "ports" in service] == ["nginx"]
    (published,) = SERVICES["nginx"]["ports"]
    port = published.rpartition(":")[2]
    assert re.search(rf"^\s*listen {port};", config, re.MULTILINE)
    assert f":{port}/readyz" in SERVICES["nginx"]["healthcheck"]["test"][-1]
    assert published.startswith("${NGINX_LISTEN:-127.0.0.1:"), "to this machine, unless somebody decides otherwise"
    assert len(NODES) >= 2


@pytest.mark.parametrize("name", [*NODES, "nginx"])
def test_what_faces_the_network_may_change_nothing_but_its_data(name: str) -> None:
    service = SERVICES[name]
    assert (service["read_only"], service["cap_drop"], service["tmpfs"]) == (True, ["ALL"], ["/tmp"])
    assert service["security_opt"] == ["no-new-privileges:true"]
