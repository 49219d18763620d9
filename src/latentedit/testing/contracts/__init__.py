"""Laws as inheritable pytest classes: a new model or editor is done when it passes its contract."""

import pytest

pytest.register_assert_rewrite(
    "latentedit.testing.contracts.backbone",
    "latentedit.testing.contracts.captioner",
    "latentedit.testing.contracts.editor",
    "latentedit.testing.contracts.pipeline",
)
