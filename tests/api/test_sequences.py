"""Any sequence of edits, compositions, files, ways back and replays keeps what is promised of each."""

import tempfile
from pathlib import Path

import numpy as np
import pytest
import torch
from hypothesis import HealthCheck, settings
from hypothesis import strategies as st
from hypothesis.stateful import Bundle, RuleBasedStateMachine, consumes, initialize, precondition, rule

import latentedit as le
from latentedit.api.outputs import read_record, same_picture
from latentedit.api.replay import replay
from latentedit.directions.base import Direction
from tests.editors.colours import ColourBackbone
from tests.editors.edits import grey, levels

STRENGTHS = st.sampled_from([0.0, 0.25, 0.5, 1.0])


class Sequences(RuleBasedStateMachine):
    """One grey picture, the directions found on it, and everything that is made of them."""

    directions = Bundle("directions")
    results = Bundle("results")

    def __init__(self) -> None:
        super().__init__()
        self.folder = tempfile.TemporaryDirectory()
        self.place = Path(self.folder.name)
        self.model = ColourBackbone()
        self.source = self.place / "grey.png"
        self.count = 0

    def teardown(self) -> None:
        self.folder.cleanup()

    def new_file(self, ending: str) -> Path:
        self.count += 1
        return self.place / f"{self.count}{ending}"

    @initialize(target=directions, seed=st.integers(0, 99), size=st.sampled_from([(8, 8), (20, 12)]))
    def begin(self, seed: int, size: tuple[int, int]) -> Direction:
        grey(seed, size).save(self.source)
        self.latent = le.encode(self.model, self.source, caption="grey")
        return le.identify(self.latent, to="red")

    @rule(target=directions, colour=st.sampled_from(["red", "green", "blue"]))
    def identify(self, colour: str) -> Direction:
        return le.identify(self.latent, to=colour)

    @rule(target=directions, direction=directions)
    def save_and_load(self, direction: Direction) -> Direction:
        first, second = self.new_file(".safetensors"), self.new_file(".safetensors")
        direction.save(first)
        loaded = le.Direction.load(first, model=self.model)
        loaded.save(second)
        assert loaded.fingerprint == direction.fingerprint
        assert torch.equal(loaded.z, direction.z)
        assert first.read_bytes() == second.read_bytes()
        return loaded

    @rule(target=results, direction=directions, strength=STRENGTHS)
    def edit(self, direction: Direction, strength: float) -> le.EditResult:
        result = le.manipulate(self.latent, direction, strength=strength)
        assert same_picture(result.image, result.source) == (strength == 0)
        return result

    @rule(target=results, first=directions, second=directions, strengths=st.tuples(STRENGTHS, STRENGTHS))
    def compose(self, first: Direction, second: Direction, strengths: tuple[float, float]) -> le.EditResult:
        result = le.manipulate(self.latent, [first, second], strength=list(strengths))
        assert same_picture(result.image, result.source) or any(strengths)
        alone = le.manipulate(self.latent, [second, first], strength=list(reversed(strengths)))
        assert np.abs(levels(result.image) - levels(alone.image)).max() <= 1  # a sum has no order, but for its rounding
        return result

    @rule(target=results, result=results, direction=directions, strength=STRENGTHS)
    def go_on(self, result: le.EditResult, direction: Direction, strength: float) -> le.EditResult:
        further = le.manipulate(result.latent, direction, strength=strength)
        if strength == 0:
            assert same_picture(further.image, result.image)
        back = le.manipulate(further.latent, direction, strength=-strength)
        assert np.abs(levels(back.image) - levels(result.image)).max() <= (0 if strength in (0, 1) else 1)
        return further

    @precondition(lambda self: self.count < 12)
    @rule(result=consumes(results))
    def write_undo_and_replay(self, result: le.EditResult) -> None:
        path, again = self.new_file(".png"), self.new_file(".png")
        result.save(path)
        assert same_picture(le.undo(path), result.source)
        known = [le.identify(self.latent, to=colour) for colour in ("red", "green", "blue")]
        replay(read_record(path), self.model, self.source, directions=known)[0].save(again)
        assert again.read_bytes() == path.read_bytes()


TestSequences = pytest.mark.nightly(Sequences.TestCase)
TestSequences.settings = settings(
    max_examples=12, stateful_step_count=8, deadline=None, suppress_health_check=list(HealthCheck)
)
