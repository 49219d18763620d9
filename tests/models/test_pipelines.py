"""The table of pipelines names classes that diffusers and transformers have, and schedulers that DDIM replaces."""

import diffusers
import pytest
import transformers

from latentedit.models.pipelines import OPTIONAL_PARTS, REFUSED, SUPPORTED


@pytest.mark.parametrize("pipeline", SUPPORTED)
def test_every_class_exists(pipeline: str) -> None:
    assert hasattr(diffusers, pipeline)
    for part, classes in SUPPORTED[pipeline].items():
        present = [name for name in classes if hasattr(diffusers, name) or hasattr(transformers, name)]
        assert present, part


def test_unet_schedulers_are_those_that_run_on_the_same_betas() -> None:
    own = set(diffusers.DDIMScheduler._compatibles)
    for pipeline in ("StableDiffusionPipeline", "DDPMPipeline"):
        assert set(SUPPORTED[pipeline]["scheduler"]) <= {str(getattr(kind, "name", kind)) for kind in own}


def test_nothing_is_both_supported_and_refused() -> None:
    assert not set(SUPPORTED) & set(REFUSED)
    assert set(SUPPORTED["StableDiffusion3Pipeline"]) >= OPTIONAL_PARTS
