"""The page of all claims: both files say the same, links and figures lead somewhere, and text stays text."""

import base64
import dataclasses
import html
import re
from pathlib import Path
from urllib.parse import unquote

import pytest

from latentedit.core.errors import ConfigError
from latentedit_bench.experiments.page import page_files, write_claims_page
from latentedit_bench.experiments.run import PLANS, read_records, reproduce
from tests.bench.experiments.tallying import Broken, Tally


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    place = tmp_path / "a folder"
    reproduce([Tally(), Broken()], place, command="latentedit reproduce")
    return place


def test_the_markdown_says_what_was_claimed_planned_and_found(folder: Path) -> None:
    text = write_claims_page(folder, folder / "claims.md")[0].read_text()
    lines = text.splitlines()
    row = next(line for line in lines if line.startswith("| [tally](#tally)"))
    assert "items can be counted \\| one by one" in row
    assert re.search(r"\| fingers \| holds \| 4\.5 \[[\d., ]+\] \| size of \\\|n\\\|, in \\<items> \| 8 \|$", row)
    assert "| [broken](#broken) | items can be counted \\| one by one | - | failed | - | - | - |" in lines
    assert "Numbers of this kind below: 1." in text
    assert "not the papers' models" in text
    assert lines.index("## Counting (arXiv 0000.00001)") < lines.index("### tally")
    assert lines.index("### tally") < lines.index("## Another (arXiv 0000.00002)") < lines.index("### broken")
    assert "* how: by: hand, eye; twice: no" in lines
    assert "* items: 8" in lines
    assert "**What decides:** mean of the items' numbers. The rule is the one above." in lines
    assert "* counted \\*twice\\*" in lines
    assert "**It failed:** there are no items. Bring some" in lines
    assert "`latentedit reproduce`" in lines
    assert "quick" not in text


def test_the_figure_is_found_from_wherever_the_page_is(folder: Path, tmp_path: Path) -> None:
    other = tmp_path / "pages"
    other.mkdir()
    for page in (folder / "claims.md", other / "mine.md"):
        text = write_claims_page(folder, page)[0].read_text()
        found = re.findall(r"!\[tally\]\((.*)\)", text)
        assert len(found) == 1
        assert (page.parent / unquote(found[0])).resolve() == (folder / "tally.webp").resolve()
        assert "![broken]" not in text


@pytest.mark.slow
def test_the_html_file_needs_no_other(folder: Path) -> None:
    text = write_claims_page(folder, folder / "claims.md")[1].read_text()
    (image,) = re.findall(r'<img [^>]*src="([^"]*)"', text)
    kind, content = image.split(",")
    assert kind == "data:image/webp;base64"
    assert base64.b64decode(content) == (folder / "tally.webp").read_bytes()
    assert set(re.findall(r'<a [^>]*href="([^"]*)"', text)) == {"#tally", "#broken"}
    assert set(re.findall(r'<h3 id="([^"]*)"', text)) == {"tally", "broken"}
    said = html.unescape(re.sub("<[^>]*>", "", text))
    assert "size of |n|, in <items>" in said
    assert "counted *twice*" in said
    assert text.count("<table") == 2


def test_a_quick_one_is_marked_and_what_is_missing_is_named(tmp_path: Path) -> None:
    reproduce([Tally(), Broken()], tmp_path, command="typed", quick=True)
    (tmp_path / "broken.json").unlink()
    text = write_claims_page(tmp_path, tmp_path / "claims.md")[0].read_text()
    assert "| holds, quick |" in text
    assert "**The plan, quick:**" in text
    assert "asked with a smaller plan" in text
    assert "Planned here, and not finished: broken." in text
    (tally,) = read_records(tmp_path).values()
    assert [tally.verdict(head) for head in tally.heads] == ["holds, quick"]


@pytest.mark.slow
def test_every_model_has_a_verdict_of_its_own(folder: Path) -> None:
    """That of its first claim, in the order in which models come."""
    record = read_records(folder)["tally"]
    (claim,) = record.claims
    others = [
        dataclasses.replace(claim, measure="another"),
        dataclasses.replace(claim, model="toes", verdict="does not hold"),
        dataclasses.replace(claim, model="toes", measure="another"),
    ]
    more = dataclasses.replace(record, claims=(claim, *others))
    assert more.heads == (claim, others[1])
    more.write(folder)
    text = write_claims_page(folder, folder / "claims.md")[0].read_text()
    table = text[: text.index("## Counting")]
    assert re.findall(r"\| (fingers|toes) \| ([a-z ]+) \|", table) == [("fingers", "holds"), ("toes", "does not hold")]


def test_a_rule_of_its_own_is_told(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(Tally, "rule", "holds on Mondays")
    reproduce([Tally()], tmp_path, command="typed")
    text = write_claims_page(tmp_path, tmp_path / "claims.md")[0].read_text()
    assert "A claim holds on Mondays." in text
    assert "The rule is the one above" not in text


def test_an_empty_folder_has_an_empty_page(tmp_path: Path) -> None:
    (tmp_path / PLANS).write_text("{}")
    text = write_claims_page(tmp_path, tmp_path / "claims.md")[0].read_text()
    assert "Numbers of this kind below: 0." in text


def test_a_page_of_another_kind_is_refused(tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match=r"its name must end in \.md"):
        page_files(tmp_path / "claims.html")
