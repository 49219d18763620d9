"""Marks tests of the families as slow or nightly.

By day, all tests of six families that differ run, and those of the others that compare with the stock pipeline.
"""

import pytest

COVERED = (  # these depend more on diffusers than on the family: families with `Variants` cover them
    "test_a_shifted_feature_changes_the_velocity",
    "test_edits_and_local_basis",
    "test_features_at_every_site",
    "test_guidance_is_affine_in_its_weight",
    "test_jvp_agrees_with_differences",
    "test_vjp_is_the_transpose",
)

DAILY = (  # one family for each text encoder, denoiser and scheduler
    "test_flux.py::TestDev",
    "test_pixart.py::TestAlpha",
    "test_qwen_image.py::TestQwenImage",
    "test_sana.py::TestSana",
    "test_sd3.py::TestThreeEncoders",
    "test_sdxl.py::TestBase",
)
PARITY = ("test_sampling_equals_the_stock_pipeline", "test_images_equal_the_stock_pipelines")


@pytest.hookimpl(tryfirst=True)
def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    for item in items:
        if "tests/models/families/" in item.nodeid:
            kinds = [kind.__name__ for kind in getattr(getattr(item, "cls", None), "__mro__", ())]
            covered = item.name.startswith(COVERED) and "Variants" not in kinds
            is_daily = not kinds or any(f"{one}::" in item.nodeid for one in DAILY) or item.name.startswith(PARITY)
            item.add_marker(pytest.mark.slow if is_daily and not covered else pytest.mark.nightly)
