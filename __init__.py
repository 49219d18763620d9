"""For ComfyUI: a clone of this repository in ``custom_nodes`` is a pack, whose nodes are those of comfyui/.

Otherwise the repository is not a Python package. A program that is started in the folder above a clone, and imports
"latentedit", gets the installed package.
"""

import shutil
import sys
from importlib.machinery import PathFinder
from importlib.util import module_from_spec
from pathlib import Path

_ROOT = Path(__file__).resolve().parent

if __name__ == "latentedit":
    _spec = PathFinder.find_spec(__name__, [place for place in sys.path if Path(place).resolve() != _ROOT.parent])
    if _spec is None or _spec.loader is None:
        raise ModuleNotFoundError(f"latentedit is not installed. Run pip install {_ROOT}", name=__name__)
    sys.modules[__name__] = module_from_spec(_spec)
    _spec.loader.exec_module(sys.modules[__name__])
else:
    WEB_DIRECTORY = "comfyui/web"
    for _image in (_ROOT / "comfyui/example_workflows").glob("*.jpg"):
        if not (_shown := _ROOT / WEB_DIRECTORY / "docs" / _image.name).exists():
            shutil.copy(_image, _shown)  # ComfyUI shows no other images in help pages
    __path__ = [str(_ROOT)]
    from .comfyui import comfy_entrypoint as comfy_entrypoint
