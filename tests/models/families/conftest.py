"""Marks tests of the families as slow or nightly.

`make test` compares the image of every family with its stock pipeline's, and runs most laws of six families that
differ. Sampling with several weights and sizes, and the laws that take longest, are slow. All else about the other
families is nightly.
"""

import pytest

# These depend more on diffusers than on the family: families with `Variants` cover them.
COVERED = (
    "test_a_shifted_feature_changes_the_velocity",
    "test_edits_and_local_basis",
    "test_features_at_every_site",
    "test_guidance_is_affine_in_its_weight",
    "test_jvp_agrees_with_differences",
    "test_vjp_is_the_transpose",
)
# One family for each text encoder, denoiser and scheduler.
DAILY_FAMILIES = (
    "test_flux.py::TestDev",
    "test_pixart.py::TestAlpha",
    "test_qwen_image.py::TestQwenImage",
    "test_sana.py::TestSana",
    "test_sd3.py::TestThreeEncoders",
    "test_sdxl.py::TestBase",
)
PARITY = ("test_sampling_equals_the_stock_pipeline", "test_images_equal_the_stock_pipelines")
# Each takes .3 to .7 s in each family.
SLOW_LAWS = (
    "test_a_changed_pipeline_edits_as_it_is",
    "test_a_folder_gives_the_same_model",
    "test_an_edit_leaves_the_pipeline_as_it_was",
    "test_edits_and_local_basis",
    "test_law_1_batch_invariance",
    "test_sampling_equals_the_stock_pipeline",
)
# One family runs them in `make test`.
QUICK_FAMILY = "test_flux.py::TestDev"


def is_nightly(item: pytest.Item, contract: type | None) -> bool:
    """Return whether a test runs at night only."""
    if contract is None:
        return False
    bases = [base.__name__ for base in contract.__mro__]
    if item.name.startswith(COVERED) and "Variants" not in bases:
        return True
    if item.name.startswith("test_a_changed_pipeline_edits_as_it_is"):
        return item.callspec.params["variant"] not in contract.daily_variants
    is_daily_family = any(f"{name}::" in item.nodeid for name in DAILY_FAMILIES)
    return not is_daily_family and not item.name.startswith(PARITY)


@pytest.hookimpl(tryfirst=True)
def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    for item in items:
        if "tests/models/families/" not in item.nodeid:
            continue
        if is_nightly(item, getattr(item, "cls", None)):
            item.add_marker(pytest.mark.nightly)
        elif item.name.startswith(SLOW_LAWS) and f"{QUICK_FAMILY}::" not in item.nodeid:
            item.add_marker(pytest.mark.slow)
