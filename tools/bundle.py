"""Writes a desktop client's bundle and server.json next to a wheel, and prints what a registry would refuse.

python -m tools.bundle dist/latentedit-0.1.0-py3-none-any.whl   # or: make bundle

The bundle holds the wheel; the client installs what that requires with uv (manifest 0.4 of MCP bundles).
"""

import json
import re
import sys
import zipfile
from collections.abc import Iterable, Iterator
from importlib.metadata import Distribution, distributions
from pathlib import Path
from typing import Any

from latentedit.agents.server import TOOLS_WITHOUT_MODELS, describe
from latentedit.core.files import atomic_file, write_text

SCHEMA = "https://static.modelcontextprotocol.io/schemas/2025-12-11/server.schema.json"
_NAME = re.compile(r"[A-Za-z0-9][A-Za-z0-9.-]*[A-Za-z0-9]/[A-Za-z0-9][A-Za-z0-9._-]*[A-Za-z0-9]")
_LONGEST_NAME = 200  # characters
_LONGEST_DESCRIPTION = 100  # characters
_SHORTEST_DESCRIPTION = 100  # characters, of a tool
_HINTS = ("read_only_hint", "destructive_hint", "idempotent_hint", "open_world_hint")

_START = """from latentedit.cli.main import main

if __name__ == "__main__":
    main()
"""
_PROJECT = """[project]
name = "latentedit-bundle"
version = "{version}"
requires-python = "{python}"
dependencies = ["{package}[mcp]"]

[tool.uv.sources]
{package} = {{ path = "{wheel}" }}
"""


def manifest(package: Distribution, tools: list[Any]) -> dict[str, Any]:
    """The manifest of the bundle. The client asks the user for the folder of images."""
    about, url = package.metadata, repository(package)
    folder = {"type": "directory", "title": "Folder of images", "required": True, "default": "${DOCUMENTS}"}
    arguments = ["run", "--directory", "${__dirname}", "server.py", "mcp", "--root", "${user_config.root}"]
    return {
        "manifest_version": "0.4",
        "name": "latentedit",
        "display_name": "latentedit",
        "version": package.version,
        "description": about["Summary"],
        "author": {"name": about["Author"]},
        **({"repository": {"type": "git", "url": url}} if url else {}),
        "license": about["License-Expression"],
        "server": {
            "type": "uv",
            "entry_point": "server.py",
            "mcp_config": {"command": "uv", "args": arguments},
        },
        "tools": [{"name": tool.name, "description": tool.description.split("\n\n")[0]} for tool in tools],
        "compatibility": {"runtimes": {"python": about["Requires-Python"]}},
        "user_config": {"root": folder | {"description": "The only folder in which files are read and written."}},
    }


def write(wheel: Path) -> list[str]:
    """Write both files beside the wheel; what a registry would refuse."""
    (package,) = distributions(path=[str(wheel)])
    # The bundle holds no models.
    tools = [describe(tool) for tool in TOOLS_WITHOUT_MODELS]
    about = package.metadata
    project = _PROJECT.format(
        version=package.version, python=about["Requires-Python"], package=about["Name"], wheel=wheel.name
    )
    texts = {
        "manifest.json": json.dumps(manifest(package, tools), indent=2),
        "pyproject.toml": project,
        "server.py": _START,
    }
    with atomic_file(wheel.with_name("latentedit.mcpb")) as place, zipfile.ZipFile(place, "w") as bundle:
        for name, content in {**texts, wheel.name: wheel.read_bytes()}.items():
            bundle.writestr(zipfile.ZipInfo(name), content)  # dated 1980: the same wheel gives the same bytes
    write_text(wheel.with_name("server.json"), json.dumps(server_json(package), indent=2) + "\n")
    return problems(package, tools)


def server_json(package: Distribution) -> dict[str, Any]:
    """The entry of a registry for this package as it is published; its name is that of the README."""
    about = package.metadata
    requirement = next(
        (one.split(";")[0].strip() for one in package.requires or () if re.search(r"extra == .mcp\b", one)), "mcp"
    )
    folder = {"format": "filepath", "description": "Folder in which images may be read and written."}
    entry: dict[str, Any] = {
        "$schema": SCHEMA,
        "name": _declared_name(package),
        "title": about["Name"],
        "description": about["Summary"],
        "version": package.version,
        "packages": [
            {
                "registryType": "pypi",
                "identifier": about["Name"],
                "version": package.version,
                "runtimeHint": "uvx",
                "runtimeArguments": [{"type": "named", "name": "--with", "value": requirement}],
                "packageArguments": [
                    {"type": "positional", "value": "mcp"},
                    {"type": "named", "name": "--root", "isRequired": True, **folder},
                ],
                "transport": {"type": "stdio"},
            }
        ],
    }
    url = repository(package)
    known = re.fullmatch(r"https://github\.com/[\w.-]+/[\w.-]+", url)
    return entry | ({"repository": {"url": url, "source": "github"}} if known else {})


def repository(package: Distribution) -> str:
    """The address of the source code that the package states, or nothing."""
    urls = dict(one.split(", ", 1) for one in package.metadata.get_all("Project-URL") or ())
    return next((url for label, url in urls.items() if label.lower() in ("repository", "source")), "")


def problems(package: Distribution, tools: Iterable[Any]) -> list[str]:
    """Faults that a registry, or a client that starts the server by its entry, refuses: place, problem, remedy."""
    return [*_problems(server_json(package), package), *(line for tool in tools for line in _tool_problems(tool))]


def _problems(entry: dict[str, Any], package: Distribution) -> Iterator[str]:
    name, description = entry["name"], entry["description"] or ""
    if not name:
        yield "README.md: no mcp-name. Add <!-- mcp-name: io.github.ACCOUNT/latentedit --> with the publishing account"
    elif not _NAME.fullmatch(name) or len(name) > _LONGEST_NAME:
        yield f"README.md, mcp-name: {name!r} is not a name of the registry. Write the account that publishes into it"
    if not 1 <= len(description) <= _LONGEST_DESCRIPTION:
        yield f"pyproject.toml, description: {len(description)} characters. Write 1 to {_LONGEST_DESCRIPTION}"
    if "+" in entry["version"] or ".dev" in entry["version"]:
        yield f"pyproject.toml, version: {entry['version']} is not a release. Write one such as 0.1.0"
    if not repository(package):
        yield "pyproject.toml, project.urls: no Repository. Add the address of the source code"
    if not package.entry_points.select(group="console_scripts", name=package.metadata["Name"]):
        yield f"pyproject.toml, project.scripts: no {package.metadata['Name']}, which uvx would run. Add it"


def _tool_problems(tool: Any) -> Iterator[str]:
    if not re.fullmatch(r"[A-Za-z0-9_-]{1,64}", tool.name):
        yield f"tool {tool.name}: clients refuse the name. Use at most 64 letters, digits, _ and -"
    if len(tool.description or "") < _SHORTEST_DESCRIPTION:
        yield f"tool {tool.name}: the description is too short to choose by. Say what it does, never does, and costs"
    for name, schema in tool.input_schema.get("properties", {}).items():
        if not schema.get("description"):
            yield f"tool {tool.name}, argument {name}: no description. Add one"
    for hint in _HINTS:
        if getattr(tool.annotations, hint, None) is None:
            yield f"tool {tool.name}: no {hint}. Set it"


def _declared_name(package: Distribution) -> str:
    """The name behind ``mcp-name:`` in the README that is published with the package, or nothing."""
    found = re.search(r"mcp-name: (\S+)", package.metadata["Description"] or "")
    return found[1] if found else ""


if __name__ == "__main__":
    found = write(Path(sys.argv[1]))
    print(*found, sep="\n")
    sys.exit(bool(found))
