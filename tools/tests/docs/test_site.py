"""The site builds without a warning, its links resolve, and it loads nothing from elsewhere."""

import contextlib
import os
import re
import shutil
import subprocess
import sys
from html.parser import HTMLParser
from pathlib import Path
from urllib.parse import unquote, urlsplit

import pytest
from playwright.sync_api import TimeoutError as TooLong

from tests.browser import Browser
from tools.pages import absent

ROOT = Path(__file__).parents[3]
LOADS = {"script": "src", "img": "src", "iframe": "src", "source": "src", "video": "src", "link": "href"}
MARKDOWN_LINK = re.compile(r"\]\(([^)#\s]+)(?:#[^)]*)?\)")


class Page(HTMLParser):
    """Anchors, links and loaded files of a page of the site."""

    def __init__(self, text: str) -> None:
        super().__init__()
        self.anchors: set[str] = set()
        self.links: set[str] = set()
        self.loads: set[str] = set()
        self.feed(text)

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        values = dict(attrs)
        self.anchors |= {str(values[key]) for key in ("id", "name") if values.get(key)}
        if tag == "a" and values.get("href"):
            self.links.add(str(values["href"]))
        if tag in LOADS and values.get("rel") not in ("canonical", "prev", "next") and values.get(LOADS[tag]):
            self.loads.add(str(values[LOADS[tag]]))


@pytest.fixture(scope="module")
def site(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The site built by Zensical, which stops at a warning, in a temporary folder."""
    folder = tmp_path_factory.mktemp("repository")
    for name in ("mkdocs.yml", "CONTRIBUTING.md", "CHANGELOG.md"):
        shutil.copy(ROOT / name, folder)
    for name in ("src", "keep", "models"):
        (folder / name).symlink_to(ROOT / name)
    shutil.copytree(ROOT / "docs", folder / "docs")
    for place in {place for path in folder.glob("docs/**/*.md") for place in absent(path.read_text("utf-8"))}:
        (folder / "docs/images" / place).touch()
    command = [sys.executable, "-m", "zensical", "build", "--strict"]
    done = subprocess.run(command, cwd=folder, env={**os.environ, "NO_COLOR": "1"}, capture_output=True, check=False)
    assert done.returncode == 0, done.stdout + done.stderr
    return folder / "site"


@pytest.fixture(scope="module")
def pages(site: Path) -> dict[Path, Page]:
    return {path.relative_to(site): Page(path.read_text(encoding="utf-8")) for path in sorted(site.rglob("*.html"))}


@pytest.mark.nightly
def test_links_resolve_to_pages_and_anchors(pages: dict[Path, Page], site: Path) -> None:
    dead: list[str] = []
    for path, page in pages.items():
        for link in page.links | page.loads:
            there = urlsplit(link)
            if there.scheme or path.name == "404.html":
                continue
            place = Path(os.path.normpath(path.parent / unquote(there.path))) if there.path else path
            known = pages[place].anchors if place in pages else set[str]()
            if not (site / place).is_file() or (there.fragment and unquote(there.fragment) not in known):
                dead.append(f"{path}: {link}")
    assert dead == []


@pytest.mark.nightly
def test_search_works_from_disk_and_the_site_loads_nothing_from_elsewhere(
    pages: dict[Path, Page], site: Path, browser: Browser
) -> None:
    assert {one for page in pages.values() for one in page.loads if urlsplit(one).netloc} == set()
    found = browser.page.locator("a", has_text="latentedit.editors.FlowEdit").first
    for _ in range(4):  # on a loaded machine the page's script may not listen yet when the key is pressed
        browser.open(site / "index.html", width=1400)
        browser.page.keyboard.press("/")
        browser.page.keyboard.type("flowedit")
        with contextlib.suppress(TooLong):
            found.wait_for(timeout=25_000)
            break
    assert found.is_visible()
    assert [one for one in browser.requests if not one.startswith("file:")] == []
    assert browser.complaints == []


def test_every_page_is_in_the_navigation() -> None:
    """Strict builds find missing pages of the navigation; this finds pages missing from it."""
    text = (ROOT / "mkdocs.yml").read_text(encoding="utf-8")
    listed = re.findall(r"- (?:.+: )?([\w/-]+\.md)$", text, flags=re.MULTILINE)
    assert sorted(listed) == sorted(path.relative_to(ROOT / "docs").as_posix() for path in ROOT.glob("docs/**/*.md"))


@pytest.mark.parametrize("name", ["README.md", "CONTRIBUTING.md", ".github/SECURITY.md"])
def test_links_of_the_repository_resolve_to_files(name: str) -> None:
    page = ROOT / name
    links = MARKDOWN_LINK.findall(page.read_text(encoding="utf-8"))
    assert [one for one in links if not urlsplit(one).scheme and not (page.parent / unquote(one)).exists()] == []
