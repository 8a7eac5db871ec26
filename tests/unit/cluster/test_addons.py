"""The add-ons' manifests, images and Go modules belong together."""

from __future__ import annotations

from pathlib import Path

import pytest
import yaml

from hazd.cluster.addons import images
from hazd.model import Manifest

FOLDER = Path(images.__file__).parent
ALL = [*images.METRICS_ADDONS, *images.VPA_ADDONS]


def documents() -> list[Manifest]:
    return [
        doc for name in ("metrics-server.yaml", "vpa.yaml") for doc in yaml.safe_load_all((FOLDER / name).read_text())
    ]


def deployments() -> list[Manifest]:
    return [doc for doc in documents() if doc["kind"] == "Deployment"]


def test_every_deployment_runs_an_image_that_can_be_made_here() -> None:
    """What a manifest names is what is built and loaded, and nothing else is built."""
    named = {doc["spec"]["template"]["spec"]["containers"][0]["image"] for doc in deployments()}
    assert named == {addon.image for addon in ALL}


@pytest.mark.parametrize("addon", ALL, ids=lambda addon: addon.binary.name)
def test_every_version_is_the_one_go_mod_asks_for(addon: images.Addon) -> None:
    """The image's tag, the marker looked for in the binary and go.mod agree on the version."""
    module, version, _ = addon.binary.marker.split("\t")
    assert f"{module} {version}" in (images.GO_MODULES / addon.binary.folder / "go.mod").read_text()
    assert addon.image.rpartition(":")[2].removeprefix("v") == version.removeprefix("v")
    assert addon.binary.package.startswith(module)


def test_add_ons_stay_where_no_disruption_takes_them() -> None:
    """All of them run on the control plane: no drain and no stopped worker ends the autoscaler that is measured."""
    for doc in deployments():
        pod = doc["spec"]["template"]["spec"]
        assert pod["nodeSelector"] == {"node-role.kubernetes.io/control-plane": ""}
        assert pod["containers"][0]["imagePullPolicy"] == "IfNotPresent"


def test_services_select_the_pods_that_are_there() -> None:
    """Each Service finds the pods of exactly one Deployment."""
    for service in (doc for doc in documents() if doc["kind"] == "Service"):
        wanted = service["spec"]["selector"].items()
        found = [doc for doc in deployments() if wanted <= doc["spec"]["template"]["metadata"]["labels"].items()]
        assert len(found) == 1
