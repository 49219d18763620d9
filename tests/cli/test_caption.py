"""``latentedit caption``: the caption of the model's captioner."""

import json
from collections.abc import Iterator
from pathlib import Path

import pytest
from torch import Tensor

from latentedit.core.plugins import CAPTIONERS
from latentedit.encoding.captions.base import AttributeReader
from tests.commands import Command
from tests.installed import installed


class Reader(AttributeReader):
    def __init__(self, backbone: object) -> None:
        pass

    def caption(self, pixels: Tensor) -> list[str]:
        return [f"an image of {pixels.shape[-1]} px"] * len(pixels)

    def read(self, pixels: Tensor) -> list[dict[str, str]]:
        return [{"mouth": "smile", "hair_color": "black"}] * len(pixels)


@pytest.fixture
def reader(tmp_path: Path) -> Iterator[tuple[object, ...]]:
    """Options that select a captioner of an installed package."""
    with installed(tmp_path, {CAPTIONERS.group: {"size": "tests.cli.test_caption:Reader"}}):
        yield ("--captioner", "size")


def test_caption_and_attributes(command: Command, image: Path, miniature: Path, reader: tuple[object, ...]) -> None:
    outcome = command("caption", image, "--model", miniature, *reader)
    lines = outcome.out.splitlines()
    assert outcome.code == 0
    assert lines[0].startswith("an image of ")
    assert [line.split() for line in lines[1:]] == [["mouth", "smile"], ["hair", "color", "black"]]
    assert command("caption", image, "--model", miniature, *reader, "--quiet").out.count("\n") == 1
    facts = json.loads(command("caption", image, "--model", miniature, *reader, "--json").out)
    assert facts["attributes"] == {"mouth": "smile", "hair_color": "black"}
