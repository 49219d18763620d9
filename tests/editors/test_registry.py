import importlib.metadata
from pathlib import Path

import pytest

from latentedit.core.errors import ConfigError, RegistryError
from latentedit.core.plugins import EDITORS
from latentedit.directions.hsds import HSDS
from latentedit.editors.eim import EIM
from latentedit.editors.registry import default_method, default_note, editor_class, make_editor
from latentedit.models.calibrations import store_calibration
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


def test_the_default_is_eim_only_where_somebody_tuned_the_model(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("LATENTEDIT_DATA", str(tmp_path))
    backbone = example_mixture(dimension=2)
    assert default_method(backbone) == make_editor(None, backbone).name == "flowedit"
    assert default_method(backbone, instructed=True) == "eim"
    (note,) = default_note(None, backbone)
    assert "flowedit" in note
    assert "`method`" in note
    assert default_note("flowedit", backbone) == default_note(None, backbone, instructed=True) == ()
    store_calibration(backbone.fingerprint, {"guard": {}})
    assert default_method(backbone) == "flowedit", "that says which pictures it knows, not how to edit"
    store_calibration(backbone.fingerprint, {"settings": {"eim": {}}})
    assert default_method(backbone) == "eim"
    backbone = example_mixture(dimension=2)
    backbone.defaults = {"editors": {"sdedit": {"level": 0.5}}}
    assert default_method(backbone) == "eim"
    assert default_note(None, backbone) == ()
