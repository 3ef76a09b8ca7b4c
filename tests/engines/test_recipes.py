"""What docs/runners.md and the manifest for Kubernetes say is what tests/support/clusters.py does."""

from __future__ import annotations

from typing import Any

import yaml

from tests.support.clusters import FLINK, OPENS, TASK_MANAGER
from tests.support.engines import ROOT

OWN = {"rest.address", "jobmanager.rpc.address", "taskmanager.host"}
"""Settings that name hosts."""


def manifest(kind: str) -> list[Any]:
    documents = yaml.safe_load_all((ROOT / "docs" / "kubernetes" / "flink.yaml").read_text())
    return [document for document in documents if document["kind"] == kind]


def test_the_manifest_has_the_settings_of_the_tests() -> None:
    (config,) = manifest("ConfigMap")
    settings = yaml.safe_load(config["data"]["config.yaml"])
    expected = {name: yaml.safe_load(value) for name, value in (FLINK | TASK_MANAGER).items()}
    assert {name: settings.get(name) for name in expected if name not in OWN} == {
        name: value for name, value in expected.items() if name not in OWN
    }
    assert config["data"]["java"].split() == list(OPENS)


def test_each_task_manager_of_the_manifest_has_a_pool_beside_it() -> None:
    pods = {item["metadata"]["name"]: item["spec"]["template"]["spec"] for item in manifest("Deployment")}
    pools = [name for name, pod in pods.items() if ["--worker_pool"] in [c.get("args") for c in pod["containers"]]]
    assert pools == ["flink-taskmanager"]


def test_the_recipe_has_the_settings_of_the_tests() -> None:
    text = (ROOT / "docs" / "runners.md").read_text()
    for name, value in FLINK.items():
        assert f"{name}: {value}" in text
    for name, value in TASK_MANAGER.items():
        assert f"{name}={value}" in text
