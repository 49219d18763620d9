"""The page of all claims: both files say the same, links and figures lead somewhere, and text stays text."""

import base64
import html
import re
from pathlib import Path
from urllib.parse import unquote

import pytest

from latentedit.core.errors import ConfigError
from latentedit_bench.experiments.page import page_files, write_claims_page
from latentedit_bench.experiments.run import reproduce
from tests.bench.experiments.counting import broken, tally


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    place = tmp_path / "a folder"
    reproduce([tally, broken], place, command="latentedit reproduce")
    return place


def test_the_markdown_has_a_row_and_a_part_of_each(folder: Path) -> None:
    text = write_claims_page(folder, folder / "claims.md")[0].read_text()
    table = [line for line in text.splitlines() if line.startswith("|")]
    (row,) = (line for line in table if "(#tally)" in line)
    said, model, number, verdict = (cell.strip() for cell in re.split(r"(?<!\\)\|", row)[1:-1])
    assert (said, model, verdict) == (r"[items can be counted \| one by one](#tally)", "fingers", "holds")
    assert re.fullmatch(r"4\.5 \[[\d., ]+\]", number)
    (row,) = (line for line in table if "(#broken)" in line)
    assert "| failed |" in row
    assert text.count("\n### tally\n") == text.count("\n### broken\n") == 1
    assert text.count("\n## Counting (arXiv 0000.00001)\n") == 1
    assert r"size of |n|, in \<items>" in text
    assert "They are counted *twice*." in text
    assert "It failed: there are no items. Bring some" in text
    assert "start: 1" in text
    assert "quick" not in text


def test_the_figure_is_found_from_wherever_the_page_is(folder: Path, tmp_path: Path) -> None:
    other = tmp_path / "pages"
    other.mkdir()
    for page in (folder / "claims.md", other / "mine.md"):
        text = write_claims_page(folder, page)[0].read_text()
        (found,) = re.findall(r"!\[tally\]\((.*)\)", text)
        assert (page.parent / unquote(found)).resolve() == (folder / "tally.webp").resolve()
        assert "![broken]" not in text


def test_the_html_file_needs_no_other(folder: Path) -> None:
    text = write_claims_page(folder, folder / "claims.md")[1].read_text()
    (image,) = re.findall(r'<img [^>]*src="([^"]*)"', text)
    kind, content = image.split(",")
    assert kind == "data:image/webp;base64"
    assert base64.b64decode(content) == (folder / "tally.webp").read_bytes()
    assert set(re.findall(r'<a [^>]*href="([^"]*)"', text)) == {"#tally", "#broken"}
    assert re.findall(r'<h3 id="([^"]*)"', text) == ["broken", "tally"]
    said = html.unescape(re.sub("<[^>]*>", "", text))
    assert "size of |n|, in <items>" in said
    assert "items can be counted | one by one" in said
    assert "markdown>" not in said
    assert text.count("<table") == 1


def test_a_quick_one_is_marked(tmp_path: Path) -> None:
    reproduce([tally], tmp_path, command="typed", quick=True)
    for place in write_claims_page(tmp_path, tmp_path / "claims.md"):
        assert place.read_text().count("would not hold (quick run, 6 images)") == 2, "in the table, and below"


def test_a_page_of_another_kind_is_refused(tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match=r"its name must end in \.md"):
        page_files(tmp_path / "claims.html")
