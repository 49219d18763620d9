"""Marks tests of the families as slow or nightly."""

import pytest

COVERED = (  # these depend more on diffusers than on the family: families with `Variants` cover them
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
            kinds = [kind.__name__ for kind in getattr(getattr(item, "cls", None), "__mro__", ())]
            covered = item.name.startswith(COVERED) and "Variants" not in kinds
            item.add_marker(pytest.mark.nightly if covered else pytest.mark.slow)
