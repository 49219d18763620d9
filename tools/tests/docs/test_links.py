"""Links in Markdown lead to files of the repository, and messages that pages quote are in the code."""

import re
import subprocess
from pathlib import Path

ROOT = Path(__file__).parents[3]
BUILT = "comfyui/web/"  # the help of the nodes, which `build.py` completes with images
_LINK = re.compile(r"!?\[[^\]]*\]\(\s*<?([^)\s>]+)|<(?:img|source|a)\b[^>]*?(?:src|href)=\"([^\"]+)\"")
_CODE = re.compile(r"^```.*?^```", re.DOTALL | re.MULTILINE)


def tracked() -> list[str]:
    listed = subprocess.run(["git", "ls-files", "-z"], cwd=ROOT, capture_output=True, check=True, text=True)
    return listed.stdout.strip("\0").split("\0")


def links(text: str) -> set[str]:
    """The relative links of a page, without blocks of code and anchors; a frame is shown on the site alone."""
    found = [first or second for first, second in _LINK.findall(re.sub(r"`[^`\n]*`", "", _CODE.sub("", text)))]
    return {link.partition("#")[0] for link in found if not re.match(r"[a-z+]+:|#", link)}


def test_relative_links_lead_to_tracked_files() -> None:
    files = tracked()
    known = {*files, *(str(folder) for file in files for folder in Path(file).parents)}
    lost = []
    for page in (file for file in files if file.endswith(".md") and file.partition("docs")[0] != BUILT):
        for link in links((ROOT / page).read_text("utf-8")):
            place = (ROOT / page).parent.joinpath(link).resolve()
            if not place.is_relative_to(ROOT) or str(place.relative_to(ROOT)) not in known:
                lost.append(f"{page}: {link}")
    assert lost == []


def test_links_are_found() -> None:
    text = 'A [b](c.md#d), ![e](f.png){ width=9 }, <img src="g.png">, `[h](i)`, [j](https://k).\n```\n[l](m)\n```\n'
    assert links(text) == {"c.md", "f.png", "g.png"}


def test_quoted_messages_are_in_the_code() -> None:
    """In tables of troubles and remedies, what is in quotes is what a program prints."""
    files = tracked()
    code = "".join((ROOT / file).read_text("utf-8") for file in files if re.match(r"(keep|comfyui|src)/.*\.py$", file))
    code = re.sub(r"#.*", "", code)  # comments print nothing
    pages = {file: (ROOT / file).read_text("utf-8") for file in files if file.endswith(".md")}
    tables = {file: text.partition("| what you see |")[2].partition("\n\n")[0] for file, text in pages.items()}
    cells = {
        (file, cell) for file, table in tables.items() for cell in re.findall(r"^\|([^|\n]*)\|", table, re.MULTILINE)
    }
    quoted = {(file, words) for file, cell in cells for words in re.findall(r'"([^"]+)"', cell)}
    assert quoted
    assert {(file, words) for file, words in quoted if words not in code} == set()
