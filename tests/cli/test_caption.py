"""``latentedit caption``: the caption of the model's captioner."""

import json
from collections.abc import Iterator
from pathlib import Path

import pytest
from torch import Tensor

from latentedit.core.plugins import CAPTIONERS
from latentedit.latents.captions.base import AttributeReader
from tests.commands import Command, Ran
from tests.installed import installed
from tests.latents.fake_endpoint import fake_endpoint, text_answer


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


@pytest.mark.slow
def test_a_captioner_is_chosen_by_name(ran: Ran, image: Path, miniature: Path, environment: dict[str, str]) -> None:
    with fake_endpoint() as server:
        environment |= {"OPENAI_BASE_URL": server.url, "NO_PROXY": "127.0.0.1"}
        server.answers = [text_answer("A man\nwith a beard.")]
        printed = ran("caption", image, "--captioner", "openai:m", "--model", miniature, "--json")
    assert json.loads(printed) == {
        "image": str(image),
        "caption": "A man with a beard",
        "attributes": None,
        "knowledge": None,
        "notes": [],
    }
