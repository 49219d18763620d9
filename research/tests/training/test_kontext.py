"""`portraits-kontext`: training data, training, and the written folder."""

import dataclasses
import random
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from diffusers import AutoencoderKL, FluxKontextPipeline

from latentedit import load
from latentedit.models import GuidedField, bundled_folder, pack, unpack, write_settings
from latentedit.numerics import EulerSolver, draw, integrate, stream
from latentedit.testing import relative_error
from latentedit_portraits.attributes import VALUES, Attributes, draw_split
from latentedit_portraits.instructions import draw_answer, draw_instruction, instruction_vocabulary
from research.tests.training.runs import trainer_in
from research.training.kontext import (
    WINDOW,
    Tasks,
    build_text_to_flow,
    build_tokenizers,
    fit_flow,
    flow_loss,
    write_kontext,
)
from research.training.loop import FitSettings
from research.training.texts import IGNORED

pytestmark = pytest.mark.nightly


def test_every_word_of_an_instruction_is_one_token() -> None:
    clip, t5 = build_tokenizers()
    words = random.Random(2)
    for source in draw_split("train", 40, 0):
        text = draw_instruction(source, draw_answer(source, words), words)
        pieces = text.replace(",", " ,").replace("-", " - ").split()
        assert len(clip(text).input_ids) - 2 == len(pieces)
        assert len(t5(text).input_ids) - 1 <= min(WINDOW - 1, len(pieces) + text.count(",") + 2 * text.count("-"))
    assert "remove" in instruction_vocabulary()


@pytest.fixture(scope="module")
def tasks() -> Tasks:
    """Eight pairs with noise as latents."""
    words = random.Random(3)
    sources = draw_split("train", 8, 0)
    answers = [draw_answer(source, words) for source in sources]
    latents = draw((2, 8, 8, 16, 16), seed=0, purpose="latents").numpy().astype(np.float16)
    return Tasks(
        tokenizers=build_tokenizers(),
        attributes=(sources, answers),
        latents=(latents[0], latents[1]),
        device=torch.device("cpu"),
    )


def test_the_answer_has_every_requested_attribute(tasks: Tasks) -> None:
    """An instruction requests exactly what differs; latents identify the portraits of a row."""
    portraits = {
        latent.tobytes(): portrait
        for latents, those in zip(tasks.latents, tasks.attributes, strict=True)
        for latent, portrait in zip(latents, those, strict=True)
    }

    def portrait_of(latent: torch.Tensor) -> Attributes:
        return portraits[latent.numpy().astype(np.float16).tobytes()]

    for instructed in (True, False):
        drawn = tasks.draw(32, torch.Generator().manual_seed(1), instructed=instructed)
        _, requested, clean, source = drawn
        assert (source is not None) == instructed
        for row, latent in enumerate(clean):
            answer = portrait_of(latent)
            values = {place: index for place, index in enumerate(requested[row].tolist()) if index != IGNORED}
            assert all(answer.indices()[place] == index for place, index in values.items())
            if source is not None:
                assert {tuple(VALUES)[place] for place in values} == set(portrait_of(source[row]).differences(answer))


def test_a_few_steps_lower_the_error(tasks: Tasks, tmp_path: Path) -> None:
    """From about 2, the variance of ``e - x`` for outputs of zero; a second call does not train further."""
    network = build_text_to_flow(tasks.tokenizers, layers=(1, 1), heads=1)

    def error() -> float:
        with torch.no_grad():
            return float(flow_loss(network, tasks, 16, 1, stream(0, "error")))

    before, trainer = error(), trainer_in(tmp_path)
    settings = FitSettings(steps=8, batch_size=4, learning_rate=5e-3, warmup_steps=1, decay_fraction=0.1, ema_decay=0.3)
    fit_flow(network, tasks, settings, trainer)
    assert before == pytest.approx(2, abs=0.1)
    assert error() < 0.97 * before
    trained = {name: value.clone() for name, value in network.state_dict().items()}
    fit_flow(network, tasks, settings, trainer)
    assert all(torch.equal(value, trained[name]) for name, value in network.state_dict().items())


def test_the_stock_pipeline_loads_the_folder_and_edits_as_the_adapter_does(tasks: Tasks, tmp_path: Path) -> None:
    """Both sample from a source in a few steps, without guidance, which only the adapter has."""
    network = build_text_to_flow(tasks.tokenizers, layers=(1, 1), heads=1)
    with torch.no_grad():
        for parameter in network.transformer.parameters():  # open the gates, which start at zero
            parameter.add_(0.05 * draw(parameter.shape, seed=1, purpose="weights"))
    folder, codec = tmp_path / "model", AutoencoderKL.from_pretrained(bundled_folder("portraits"), subfolder="vae")
    write_kontext(folder, codec, network, tasks.tokenizers)
    write_settings(folder, {"sizes": [128, 128, 128], "guidance": 2.0})
    pipeline: Any = FluxKontextPipeline.from_pretrained(folder, torch_dtype=torch.float32)
    model = load(folder, device="cpu")
    assert model.capabilities.references == 1
    assert (model.capabilities.guidance_kind, model.capabilities.guidance) == ("cfg", 2.0)
    shape = (1, *model.latent_shape(128, 128))
    z, source = (draw(shape, seed=4, purpose=purpose) for purpose in ("start", "source"))
    pipeline.set_progress_bar_config(disable=True)
    stock = pipeline(
        prompt="add glasses",
        image=source,
        latents=pack(z),
        height=128,
        width=128,
        max_area=128 * 128,
        num_inference_steps=3,
        max_sequence_length=WINDOW,
        output_type="latent",
    ).images
    condition = dataclasses.replace(model.embed(["add glasses"]), reference=(source,))
    field = GuidedField(backbone=model, condition=condition)
    ours = integrate(field, z, model.grid(3, height_px=128, width_px=128).levels, EulerSolver())
    assert relative_error(ours, unpack(stock, (8, 8))) <= 1e-4
