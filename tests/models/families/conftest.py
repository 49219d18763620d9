"""Which tests of the families run when."""

import pytest

ADAPTERS = ("test_flux", "test_sd3", "test_sdxl", "test_qwen_image")
"""What is done to a pipeline and its derivatives depends on diffusers more than on the family: these four cover it."""

COVERED = (
    "test_a_changed_pipeline_edits_as_it_is",
    "test_a_shifted_feature_changes_the_velocity",
    "test_edits_and_local_basis",
    "test_features_at_every_site",
    "test_guidance_is_affine_in_its_weight",
    "test_jvp_agrees_with_differences",
    "test_vjp_is_the_transpose",
)


@pytest.hookimpl(tryfirst=True)
def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    for item in items:
        if "tests/models/families/" in item.nodeid:
            covered = item.name.startswith(COVERED) and item.path.stem not in ADAPTERS
            item.add_marker(pytest.mark.nightly if covered else pytest.mark.slow)
