"""What a result says about its making, and the whole line on a miniature of the real architecture."""

from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image

from latentedit.backbones.base import Backbone
from latentedit.editing.eim import EIM
from latentedit.editing.measure import measured, peak_bytes, versions
from latentedit.editing.verbs import edit, load
from latentedit.errors import ConfigError
from latentedit.testing.gaussian_mixture import example_mixture
from latentedit.testing.miniature import miniature_sd3
from tests.directions.mixtures import mixture_latent


def test_versions_and_memory() -> None:
    assert versions()["torch"] == torch.__version__
    assert peak_bytes(torch.device("cpu")) > 10e6


def test_latents_without_pictures_are_refused() -> None:
    latent = mixture_latent(example_mixture(dimension=2))
    with pytest.raises(ConfigError, match="bare ones"):
        measured(latent, lambda: latent.z, strength=1.0, method="", settings={}, seed=0, targets=())


@pytest.fixture(scope="module")
def miniature(tmp_path_factory: pytest.TempPathFactory) -> Backbone:
    folder: Path = miniature_sd3(tmp_path_factory.mktemp("sd3"), t5=False)
    return load(folder, device="cpu")


def test_a_real_architecture_goes_the_whole_line(miniature: Backbone) -> None:
    """The joint arm with the Hessian term, forward mode, guided, on a random SD3; equal texts leave the picture."""
    pixels = np.random.default_rng(0).integers(0, 255, (50, 70, 3), dtype=np.uint8)
    source = Image.fromarray(pixels)
    editor = EIM(arm="joint", gamma=1.0, steps=2, guidance=2.0, manipulate_steps=3, level=0.6)
    result = edit(miniature, source, to="a person with glasses", caption="a person", method=editor)
    assert result.image.size == (70, 50)
    assert not np.array_equal(np.asarray(result.image), pixels)
    walk = miniature.grid(3).below(0.6).steps
    assert result.cost.evaluations == 2 * 6 + 2 * walk
    still = edit(miniature, source, to="a person", caption="a person", method=editor)
    assert np.array_equal(np.asarray(still.image), pixels)
    none = edit(miniature, source, to="a person with glasses", caption="a person", method=editor, strength=0.0)
    assert np.array_equal(np.asarray(none.image), pixels)
