"""The libraries' classes come alone, quietly, and nobody else notices."""

import json
import logging
import subprocess
import sys

import pytest
import torch

from latentedit.core.errors import ModelError
from latentedit.models.libraries import library_class, quiet_libraries

EDIT_PATH = """
import json, sys
import latentedit.api.outputs, latentedit.api.verbs, latentedit.cli.edit
from latentedit.core.plugins import BACKBONES, EDITORS
from latentedit.models.libraries import library_class
EDITORS.load("eim")
adapter = BACKBONES.load("StableDiffusion3Pipeline")
for part, (first, *_) in adapter.parts.items():
    library = "transformers" if part.startswith("t") and part != "transformer" else "diffusers"
    library_class(library, first)
def ran(name):
    return name in sys.modules and type(sys.modules[name]).__name__ != "_OnDemand"
unwanted = ("scipy.stats", "scipy.integrate", "matplotlib", "pandas", "sklearn", "pytest", "typer.testing")
networks = [name for name in sys.modules if name.startswith("diffusers.models.transformers.")]
print(json.dumps({"unwanted": [name for name in unwanted if ran(name)], "networks": networks}))
from diffusers.models.transformers import FluxTransformer2DModel
import scipy.stats
assert ran("diffusers.models.transformers")
assert scipy.stats.norm.cdf(0) == 0.5
assert ran("scipy.stats")
"""


@pytest.mark.nightly
def test_an_edit_imports_the_networks_it_runs_and_little_else() -> None:
    """And what was put off is there for whoever asks for it."""
    done = subprocess.run([sys.executable, "-c", EDIT_PATH], check=True, capture_output=True, text=True)
    found = json.loads(done.stdout.splitlines()[-1])
    assert found["unwanted"] == []
    own = {name.rpartition(".")[2] for name in found["networks"]}
    assert own == {"transformer_sd3", "transformer_2d", "dual_transformer_2d"} & own
    assert "transformer_sd3" in own


def test_a_class_that_is_not_there_is_named() -> None:
    with pytest.raises(ModelError, match="no class Nothing"):
        library_class("diffusers", "Nothing")
    with pytest.raises(ModelError, match="'os'"):
        library_class("os", "system")


def test_quiet_libraries_restores_what_it_changed() -> None:
    logger = logging.getLogger("transformers")
    before, state = logger.level, torch.random.get_rng_state()
    with quiet_libraries():
        assert logger.level == logging.ERROR
        torch.randn(3)
    assert logger.level == before
    assert torch.equal(torch.random.get_rng_state(), state)


def test_libraries_are_quiet_until_the_last_thread_leaves() -> None:
    """Whoever came first may leave first."""
    logger = logging.getLogger("diffusers")
    before, first, second = logger.level, quiet_libraries(), quiet_libraries()
    first.__enter__()
    second.__enter__()
    first.__exit__(None, None, None)
    assert logger.level == logging.ERROR
    second.__exit__(None, None, None)
    assert logger.level == before
