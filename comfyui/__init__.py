"""Nodes for ComfyUI: keep only what an editor changed, check edits, and, with latentedit installed, edit by text."""

import importlib.util
import sys
from pathlib import Path
from typing import Any

WEB_DIRECTORY = "web"  # ComfyUI takes the help pages of nodes from its folder docs

_CARRIED = Path(__file__).resolve().parent / "carried"  # the packages that build.py copies into the pack
_IN_CLONE = _CARRIED.parents[1] / "src"
if importlib.util.find_spec("latentedit") is None:
    if (_IN_CLONE / "latentedit").is_dir():
        from .build import write_metadata

        write_metadata(_CARRIED)
        sys.path.append(str(_IN_CLONE))
    elif not _CARRIED.is_dir():
        raise ImportError(
            "this folder lacks latentedit. Clone the whole repository into custom_nodes instead, or run "
            "`python comfyui/build.py .../ComfyUI/custom_nodes` in a clone"
        )
    sys.path.append(str(_CARRIED))


async def comfy_entrypoint() -> Any:
    """The nodes, as ComfyUI asks for them."""
    from comfy_api.latest import ComfyExtension

    from . import nodes_image, nodes_sweep

    nodes = [*nodes_image.NODES, *nodes_sweep.NODES]
    from latentedit.core import has_models

    if has_models():
        from . import nodes_text

        nodes += nodes_text.NODES

    class Extension(ComfyExtension):
        async def get_node_list(self) -> list[Any]:
            return nodes

    return Extension()
