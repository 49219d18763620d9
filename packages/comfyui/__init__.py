"""Nodes for ComfyUI: keep only what an editor changed, check edits, and, with latentedit installed, edit by text."""

import importlib.util
import sys
from pathlib import Path
from typing import Any

WEB_DIRECTORY = "web"  # ComfyUI takes the help pages of nodes from its folder docs

if importlib.util.find_spec("latentedit_keep") is None:
    sys.path.append(str(Path(__file__).parent / "carried"))  # the copy that build.py makes


async def comfy_entrypoint() -> Any:
    """The nodes, as ComfyUI asks for them."""
    from comfy_api.latest import ComfyExtension

    from . import nodes_image, nodes_sweep

    nodes = [*nodes_image.NODES, *nodes_sweep.NODES]
    if importlib.util.find_spec("latentedit") is not None:
        from . import nodes_text

        nodes += nodes_text.NODES

    class Extension(ComfyExtension):
        async def get_node_list(self) -> list[Any]:
            return nodes

    return Extension()
