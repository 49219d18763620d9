"""The desktop bundle and server.json: what they hold, and what a registry of tool servers would refuse."""

import json
import tomllib
import zipfile
from importlib.metadata import Distribution, distributions
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest

pytest.importorskip("mcp")
from tools import bundle

METADATA = """Metadata-Version: 2.4
Name: latentedit
Version: {version}
Summary: {summary}
Requires-Python: >=3.11
Author: Some people
License-Expression: Apache-2.0
{urls}Requires-Dist: numpy>=1.26
Requires-Dist: mcp>=2.3; extra == 'mcp'
Description-Content-Type: text/markdown

# Title

{marker}
"""
GOOD = {
    "version": "1.2.0",
    "summary": "Keeps the edit.",
    "urls": "Project-URL: Repository, https://github.com/some-people/latentedit\n",
    "marker": "<!-- mcp-name: io.github.some-people/latentedit -->",
    "script": "latentedit",
}


def published(folder: Path, **changes: str) -> Distribution:
    """The package in a wheel with this metadata."""
    given = GOOD | changes
    wheel = folder / f"latentedit-{given['version']}-py3-none-any.whl"
    with zipfile.ZipFile(wheel, "w") as file:
        about = f"latentedit-{given['version']}.dist-info"
        file.writestr(f"{about}/METADATA", METADATA.format(**given))
        file.writestr(f"{about}/entry_points.txt", f"[console_scripts]\n{given['script']} = a:b\n")
    (found,) = distributions(path=[str(wheel)])
    return found


def test_the_entry_names_the_package_and_starts_its_server_in_a_folder(tmp_path: Path) -> None:
    entry = bundle.server_json(published(tmp_path))
    assert json.loads(json.dumps(entry)) == entry
    assert (entry["name"], entry["version"]) == ("io.github.some-people/latentedit", "1.2.0")
    assert entry["repository"] == {"url": "https://github.com/some-people/latentedit", "source": "github"}
    (package,) = entry["packages"]
    assert (package["registryType"], package["identifier"], package["version"]) == ("pypi", "latentedit", "1.2.0")
    (extra,), (command, root) = package["runtimeArguments"], package["packageArguments"]
    assert (extra["name"], extra["value"], command["value"], root["name"]) == ("--with", "mcp>=2.3", "mcp", "--root")
    assert root["isRequired"]
    assert bundle.problems(published(tmp_path), []) == []


@pytest.mark.parametrize(
    ("changes", "words"),
    [
        ({"marker": ""}, ("README.md", "no mcp-name")),
        ({"marker": "mcp-name: io.github.[ACCOUNT]/latentedit"}, ("README.md", "[ACCOUNT]", "account that publishes")),
        ({"marker": "mcp-name: latentedit"}, ("README.md", "'latentedit'")),
        ({"marker": "mcp-name: io.github.a/latentedit."}, ("README.md", "'io.github.a/latentedit.'")),
        ({"marker": f"mcp-name: io.github.a/{200 * 'x'}"}, ("README.md",)),
        ({"summary": 101 * "x"}, ("description", "101 characters")),
        ({"version": "1.2.0+local"}, ("version", "1.2.0+local")),
        ({"urls": ""}, ("project.urls", "Repository")),
        ({"script": "other"}, ("project.scripts", "no latentedit")),
    ],
)
def test_each_problem_has_its_place(changes: dict[str, str], words: tuple[str, ...], tmp_path: Path) -> None:
    (line,) = bundle.problems(published(tmp_path, **changes), [])
    assert all(word in line for word in words), line
    assert ". " in line, "no remedy"


def tool(**changes: Any) -> Any:
    hints = dict.fromkeys(("read_only_hint", "destructive_hint", "idempotent_hint", "open_world_hint"), False)
    hints |= dict.fromkeys(changes.pop("without", ()))
    given = {"name": "do", "description": 100 * "x", "input_schema": {"properties": {"path": {"description": "A."}}}}
    return SimpleNamespace(**given | changes, annotations=SimpleNamespace(**hints))


@pytest.mark.parametrize(
    ("changes", "word"),
    [
        ({"name": "do it"}, "name"),
        ({"description": "Does it."}, "too short"),
        ({"description": None}, "too short"),
        ({"input_schema": {"properties": {"path": {}}}}, "argument path"),
        ({"without": ["open_world_hint"]}, "open_world_hint"),
    ],
)
def test_tools_that_graders_refuse(changes: dict[str, Any], word: str, tmp_path: Path) -> None:
    package = published(tmp_path)
    assert bundle.problems(package, [tool()]) == []
    (line,) = bundle.problems(package, [tool(**changes)])
    assert word in line


def test_a_bundle_holds_the_wheel_and_what_its_manifest_names(tmp_path: Path) -> None:
    published(tmp_path)
    (wheel,) = tmp_path.glob("*.whl")
    assert bundle.write(wheel) == []
    with zipfile.ZipFile(tmp_path / "latentedit.mcpb") as file:
        manifest, project = json.loads(file.read("manifest.json")), tomllib.loads(file.read("pyproject.toml").decode())
        assert {one.date_time for one in file.infolist()} == {(1980, 1, 1, 0, 0, 0)}, "not the same bytes every time"
        assert file.read(wheel.name) == wheel.read_bytes()
        compile(file.read(manifest["server"]["entry_point"]), "server.py", "exec")
        assert project["tool"]["uv"]["sources"]["latentedit"]["path"] in file.namelist()
    assert project["project"]["dependencies"] == ["latentedit[mcp]"]
    arguments = manifest["server"]["mcp_config"]["args"]
    assert manifest["server"]["entry_point"] in arguments
    assert arguments[-2:] == ["--root", "${user_config.root}"]
    assert list(manifest["user_config"]) == ["root"]
    assert [tool["name"] for tool in manifest["tools"]] == ["check_edit", "keep_edit", "undo_edit", "history"]
    assert (manifest["version"], manifest["manifest_version"]) == ("1.2.0", "0.4")
    assert json.loads((tmp_path / "server.json").read_text())["name"] == "io.github.some-people/latentedit"
