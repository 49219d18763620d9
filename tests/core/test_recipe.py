"""Recipes: what they check, hold and store."""

import pytest

from latentedit.core.errors import ConfigError
from latentedit.core.recipe import Recipe, descriptions
from latentedit.editing.request import EditRequest
from latentedit.editors import FlowEdit
from latentedit.editors.base import editor_of, resolve
from tests.editors.colors import ColorBackbone


def test_a_recipe_is_stored_as_plain_values_and_read_again() -> None:
    """An editor as its name and all of its settings, which make an equal one."""
    editor = FlowEdit(steps=4)
    stored = Recipe(method=editor, auto_mask=True, subtract_residual=0.5).to_dict()
    assert (stored["method"], stored["settings"]) == ("flowedit", editor.to_dict())
    again = Recipe.from_dict(stored)
    assert again.to_dict() == stored
    assert FlowEdit.from_dict(again.settings) == editor
    with pytest.raises(ConfigError):
        editor_of(again)


def test_a_request_is_a_recipe_which_a_model_completes() -> None:
    """An editor that the user made gives all of its settings, a name only those of the call."""
    request, model = EditRequest.of(prompt="red", method="flowedit", guidance_scale=3, refine=True), ColorBackbone()
    made = resolve(request, model)
    assert type(made) is Recipe
    assert (editor_of(made).name, made.refine, made.auto_mask) == ("flowedit", True, FlowEdit.localizes)
    assert dict(made.settings) == {"target_guidance": 3}
    assert made.settings.items() <= editor_of(made).to_dict().items()
    assert resolve(Recipe(method=FlowEdit()), model).settings == FlowEdit().to_dict()
    assert descriptions(EditRequest).keys() > descriptions(Recipe).keys() >= {"method", "refine"}


@pytest.mark.parametrize("wrong", [{"refine": "yes"}, {"subtract_residual": 2.0}, {"combine": "blend"}])
def test_wrong_values_are_refused(wrong: dict[str, object]) -> None:
    with pytest.raises(ConfigError, match=next(iter(wrong))):
        Recipe(**wrong)  # type: ignore[arg-type]
