"""The desktop bundle: what its manifest names is in it, and it starts the server."""

import json
import tomllib
import zipfile
from pathlib import Path

import pytest

from tests.keep.test_listing import published

pytest.importorskip("mcp")
from tools import bundle

pytestmark = pytest.mark.slow


def test_a_bundle_holds_the_wheel_and_what_its_manifest_names(tmp_path: Path) -> None:
    published(tmp_path)
    (wheel,) = tmp_path.glob("*.whl")
    assert bundle.write(wheel) == []
    with zipfile.ZipFile(tmp_path / "latentedit.mcpb") as file:
        manifest, project = json.loads(file.read("manifest.json")), tomllib.loads(file.read("pyproject.toml").decode())
        assert {one.date_time for one in file.infolist()} == {(1980, 1, 1, 0, 0, 0)}, "not the same bytes every time"
        assert file.read(wheel.name) == wheel.read_bytes()
        compile(file.read(manifest["server"]["entry_point"]), "server.py", "exec")
        assert project["tool"]["uv"]["sources"]["latentedit-keep"]["path"] in file.namelist()
    assert project["project"]["dependencies"] == ["latentedit-keep[mcp]"]
    arguments = manifest["server"]["mcp_config"]["args"]
    assert manifest["server"]["entry_point"] in arguments
    assert arguments[-2:] == ["--root", "${user_config.root}"]
    assert list(manifest["user_config"]) == ["root"]
    assert [tool["name"] for tool in manifest["tools"]] == ["check_edit", "keep_edit", "undo_edit", "history"]
    assert (manifest["version"], manifest["manifest_version"]) == ("1.2.0", "0.4")
    assert json.loads((tmp_path / "server.json").read_text())["name"] == "io.github.some-people/latentedit"
