"""Phrases of captions in joint attention: where their tokens are, and how much the image attends to them."""

import functools
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any

import pytest
import torch
from torch import Tensor
from torch.nn.modules.module import register_module_forward_hook

import latentedit as le
from latentedit.core import ConfigError, ModelError
from latentedit.numerics import draw
from latentedit.testing import sd3_pipeline
from latentedit_bench.experiments.phrase_attention import phrase_attention, phrase_positions
from tests.miniatures.flow import chroma, flux

CAPTION = "a person with red hair, no beard"
PHRASES = ("red hair", "no beard", "person")
LEVELS = (0.3, 0.8)
PIPELINES: dict[str, Callable[[], Any]] = {
    "sd3": functools.partial(sd3_pipeline, t5=True),
    "no t5": functools.partial(sd3_pipeline, t5=False),
    "flux": flux,
}


@functools.cache
def model_of(name: str, window: int | None = None) -> Any:
    """The same for all tests, none of which changes it."""
    return le.from_pipeline(PIPELINES[name](), settings={} if window is None else {"window": window})


@contextmanager
def outputs_of(modules: dict[str, Any]) -> Iterator[dict[str, Any]]:
    """First inputs and outputs of modules, by name, in the pass inside the context."""
    kept, names = dict[str, Any](), {module: name for name, module in modules.items()}

    def keep(module: Any, inputs: Any, output: Any) -> None:
        if module in names:
            kept[names[module]] = inputs, output

    handle = register_module_forward_hook(keep)
    yield kept
    handle.remove()


def words_at(pipeline: Any, model: le.Backbone, caption: str, phrase: str) -> list[str]:
    """The words that each text encoder read at the positions of a phrase; the features of both CLIPs are one token."""
    encoders = ["_2"] if is_flux(pipeline) else ["", "_3"] if pipeline.text_encoder_3 is not None else [""]
    networks = {name: getattr(pipeline, f"text_encoder{name}") for name in encoders}
    embeddings = {name: getattr(one, "encoder", one).get_input_embeddings() for name, one in networks.items()}
    with outputs_of(embeddings) as kept:
        model.embed([caption])
    (positions,), start, words = phrase_positions(model, caption, [phrase]), 0, list[str]()
    for name in encoders:
        ids = kept[name][0][0][0].tolist()
        here = [ids[i - start] for i in positions if start <= i < start + len(ids)]
        words.append(getattr(pipeline, f"tokenizer{name}").decode(here).strip())
        start += len(ids)
    return words


def is_flux(pipeline: Any) -> bool:
    return "Flux" in type(pipeline).__name__


@pytest.mark.slow_except("flux-spelled in letters")
@pytest.mark.parametrize(
    ("caption", "phrase", "words"),
    [
        (CAPTION, "red hair", "red hair"),
        (CAPTION, "beard", "beard"),
        ("red hair, no beard, red hair", "red hair", "red hair red hair"),
        ("scared person, red wall", "red", "red"),
        ("a person on a bike, smile", "bike", "bike"),
    ],
    ids=["two words", "last word", "twice", "not inside of a word", "spelled in letters"],
)
@pytest.mark.parametrize("name", ["sd3", "flux"])
def test_text_encoders_read_the_phrase_at_its_positions(name: str, caption: str, phrase: str, words: str) -> None:
    model = model_of(name)
    found = words_at(model.pipeline, model, caption, phrase)
    assert found == [words] * len(found)


@pytest.mark.slow
def test_positions_of_clip_come_before_those_of_t5() -> None:
    """In CLIP's text one token begins the text, and T5's begins behind the 20 tokens of CLIP."""
    assert phrase_positions(model_of("sd3"), CAPTION, ["red hair"]) == [[4, 5, 23, 24]]
    assert phrase_positions(model_of("no t5"), CAPTION, ["red hair"]) == [[4, 5]]
    assert phrase_positions(model_of("flux"), CAPTION, ["red hair"]) == [[3, 4]]


@pytest.mark.slow_except("behind-T5")
@pytest.mark.parametrize(("name", "window"), [("sd3", None), ("flux", 19)], ids=["CLIP", "T5"])
@pytest.mark.parametrize(("before", "is_read"), [(0, True), (1, False), (5, False)], ids=["fits", "cut", "behind"])
def test_a_phrase_that_is_cut_off_is_refused(name: str, window: int | None, before: int, is_read: bool) -> None:
    """CLIP reads 18 words between the tokens that begin and end a text, this T5 as many before the one that ends it."""
    model = model_of(name, window)
    caption = " ".join(["face"] * (16 + before) + ["red", "hair"])
    if is_read:
        assert set(words_at(model.pipeline, model, caption, "red hair")) == {"red hair"}
    else:
        with pytest.raises(ConfigError, match="not all of 'red hair'"):
            phrase_positions(model, caption, ["red hair"])


@pytest.mark.slow_except(" ")
@pytest.mark.parametrize("phrase", ["blue hair", "hai", "", " "])
def test_other_words_are_refused(phrase: str) -> None:
    with pytest.raises(ConfigError, match="not in the caption"):
        phrase_positions(model_of("flux"), CAPTION, [phrase])


def test_other_families_are_refused() -> None:
    with pytest.raises(ModelError, match="other text tokens"):
        phrase_positions(le.from_pipeline(chroma()), CAPTION, ["red hair"])


def by_hand(pipeline: Any, model: le.Backbone, x: Tensor, level: float, spans: list[list[int]]) -> list[Any]:
    """For each joint layer, weights and values from what its norms and projections put out, with own rotations."""
    network, text = pipeline.transformer, model.embed([CAPTION])
    layers = [block.attn for block in [*network.transformer_blocks, *getattr(network, "single_transformer_blocks", [])]]
    names = ["norm_added_q", "norm_added_k", "add_v_proj", "norm_q", "norm_k", "to_v"]
    modules = {f"{i}.{name}": getattr(layer, name, None) for i, layer in enumerate(layers) for name in names}
    with outputs_of({**modules, "rotary": getattr(network, "pos_embed", None)}) as kept, torch.no_grad():
        model.velocity(x, torch.full((1,), level), text)

    def heads(index: int, name: str) -> Tensor:
        """Tokens, heads, features; the norms of SD3 have the heads first, and single blocks of FLUX no text."""
        if f"{index}.{name}" not in kept:
            return torch.empty(0, layers[index].heads, network.config.attention_head_dim)
        output = kept[f"{index}.{name}"][1][0]
        return output.unflatten(-1, (layers[index].heads, -1)) if output.ndim == 2 else turned(output)

    def turned(output: Tensor) -> Tensor:
        return output if is_flux(pipeline) else output.transpose(0, 1)

    found, count = [], text.tokens.shape[1]
    for index, layer in enumerate(layers):
        query, key, value = (torch.cat([heads(index, names[i]), heads(index, names[3 + i])]) for i in range(3))
        if is_flux(pipeline):
            query, key = (rotated(one, kept["rotary"][1]) for one in (query, key))
        scores = torch.einsum("qhd,khd->hqk", query[count:], key[:count]) / network.config.attention_head_dim**0.5
        shares = (scores.exp() / scores.exp().sum(2, keepdim=True)).mean(0)
        weights = [sum(shares[:, i] for i in span) for span in spans]
        values = [torch.cat([value[span, h].mean(0) for h in range(layer.heads)]) for span in spans]
        found.append((torch.stack(weights), torch.stack(values)))
    return found


def rotated(tokens: Tensor, rotary: Any) -> Tensor:
    """Each pair of features as a complex number, turned by the angle of its token."""
    cos, sin = (one[:, None, ::2] for one in rotary)
    turned = torch.view_as_complex(tokens.unflatten(-1, (-1, 2)).contiguous()) * torch.complex(cos, sin)
    return torch.view_as_real(turned).flatten(-2)


@pytest.mark.slow
@pytest.mark.parametrize("name", ["sd3", "flux"])
def test_weights_and_values_are_those_of_the_attention_layers(name: str) -> None:
    model = model_of(name)
    z = draw((2, *model.latent_shape(64, 64)), seed=1, purpose="images")
    weights_of, values_of = phrase_attention(model, z, CAPTION, PHRASES, levels=LEVELS, seed=5)
    spans = phrase_positions(model, CAPTION, PHRASES)
    assert weights_of.shape == (2, len(PHRASES), len(LEVELS), 2, 16)
    for image, clean in enumerate(z):
        noise = draw(clean.shape, seed=5, purpose="phrase attention", index=image)
        for number, level in enumerate(LEVELS):
            x = ((1 - level) * clean + level * noise)[None]
            for layer, (weights, values) in enumerate(by_hand(model.pipeline, model, x, level, spans)):
                assert torch.allclose(weights_of[image, :, number, layer], weights, atol=1e-5, rtol=0)
                assert torch.allclose(values_of[image, :, number, layer], values, atol=1e-5, rtol=0)


def test_attention_that_is_not_seen_is_an_error(monkeypatch: pytest.MonkeyPatch) -> None:
    """A backend other than PyTorch's function; here its math kernel is called directly."""
    model, kernel = model_of("no t5"), torch.ops.aten._scaled_dot_product_attention_math
    monkeypatch.setattr(
        "torch.nn.functional.scaled_dot_product_attention",
        lambda query, key, value, **_: kernel(query, key, value)[0],
    )
    with pytest.raises(ModelError, match="ran 0 times"):
        phrase_attention(model, torch.zeros(1, *model.latent_shape(64, 64)), CAPTION, PHRASES)
