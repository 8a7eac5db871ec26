"""kind's node image made here, from Go modules and Debian packages, for machines where no image registry answers."""

from __future__ import annotations

from hazd.cluster.node_image.build import build_base, build_node, labelled, missing
from hazd.cluster.node_image.recipe import BASE_IMAGE, KUBERNETES, NODE_IMAGE, RECIPE_LABEL

__all__ = [
    "BASE_IMAGE", "KUBERNETES", "NODE_IMAGE", "RECIPE_LABEL", "build_base", "build_node", "labelled", "missing",
]  # fmt: skip
