"""Writes a registry's server.json and a desktop client's bundle next to a wheel of keep, and prints what is missing.

python -m tools.bundle dist/latentedit_keep-0.1.0-py3-none-any.whl   # or: make bundle

The bundle holds the wheel; the client installs what that requires with uv (manifest 0.4 of MCP bundles).
"""

import asyncio
import json
import sys
import zipfile
from importlib.metadata import Distribution, distributions
from pathlib import Path
from typing import Any

from latentedit_keep import listing
from latentedit_keep.base.files import atomic_file, write_text
from latentedit_keep.mcp_command import make_server

_START = """from latentedit_keep.main import main

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
    about, url = package.metadata, listing.repository(package)
    folder = {"type": "directory", "title": "Folder of images", "required": True, "default": "${DOCUMENTS}"}
    arguments = ["run", "--directory", "${__dirname}", "server.py", "mcp", "--root", "${user_config.root}"]
    return {
        "manifest_version": "0.4",
        "name": "latentedit",
        "display_name": "latentedit keep",
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
    tools = asyncio.run(make_server(Path()).list_tools())
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
    write_text(wheel.with_name("server.json"), json.dumps(listing.server_json(package), indent=2) + "\n")
    return listing.problems(package, tools)


if __name__ == "__main__":
    found = write(Path(sys.argv[1]))
    print(*found, sep="\n")
    sys.exit(bool(found))
