import importlib.metadata

import pytest

from latentedit.core.errors import ConfigError, RegistryError
from latentedit.core.plugins import EDITORS
from latentedit.directions.hsds import HSDS
from latentedit.editors.eim import EIM
from latentedit.editors.registry import editor_class, make_editor
from latentedit.testing.gaussian_mixture import example_mixture


def test_registered_editors(monkeypatch: pytest.MonkeyPatch) -> None:
    assert {"eim", "sdedit", "inversion", "aligned-inversion", "flowedit", "flowslider"} <= set(EDITORS.names())
    assert all(editor_class(name).name == name for name in EDITORS.names())
    point = importlib.metadata.EntryPoint(name="odd", value="math:sqrt", group=EDITORS.group)
    monkeypatch.setattr(importlib.metadata, "entry_points", lambda group: importlib.metadata.EntryPoints([point]))
    with pytest.raises(RegistryError, match="subclass of Editor"):
        editor_class("odd")


def test_the_models_settings_come_first() -> None:
    backbone = example_mixture(dimension=2)
    assert make_editor("eim", backbone) == EIM()
    backbone.defaults = {"editors": {"eim": {"arm": "joint", "search": {"levels": [0.9, 0.5]}}}}
    assert make_editor("eim", backbone) == EIM(arm="joint", search=HSDS(levels=(0.9, 0.5)))
    backbone.defaults = {"editors": {"eim": {"search": {"level": [0.9, 0.5]}}}}
    with pytest.raises(ConfigError, match="HSDS has no setting 'level': did you mean 'levels'"):
        make_editor("eim", backbone)
    backbone.defaults = {"editors": {"eim": {"arms": "joint"}}}
    with pytest.raises(ConfigError, match="did you mean 'arm'"):
        make_editor("eim", backbone)
