"""Two captions differ for text encoders only in the change, however many tokens an encoder reads."""

import functools
import re
from collections import Counter
from collections.abc import Callable
from typing import Any
from unittest import mock

import pytest
import torch
from hypothesis import Phase, example, given, settings
from hypothesis import strategies as st

import latentedit as le
from latentedit.core.errors import ConfigError, LatentEditWarning
from latentedit.encoding.captions.change import Caption, phrase_key
from latentedit.encoding.captions.fitting import END, cut, fit, left_out_note, without
from latentedit.encoding.encode import fitted, left_out_of
from latentedit.models.base import TextReader
from tests.editors.edits import gray
from tests.miniatures.flow import flux, flux2_dev, qwen_image, sana
from tests.miniatures.noise import sdxl

WORDS = ["red", "hair", "glasses", "a", "black", "and", "no", "hat", "blue", "cat", "person", "face", "xylophone"]
PHRASES = st.lists(st.sampled_from(WORDS), min_size=1, max_size=6).map(" ".join)
CAPTIONS = st.lists(PHRASES, min_size=1, max_size=12)

MODELS: dict[str, Callable[[], Any]] = {  # CLIP twice, CLIP and T5, Qwen, Gemma, Mistral
    "sdxl": sdxl,
    "flux": flux,
    "qwen": qwen_image,
    "sana": sana,
    "mistral": flux2_dev,
}


def counter(room: int, name: str = "words") -> TextReader:
    """An encoder that reads so many words."""
    return TextReader(name=name, room=room, reads=lambda text: len(text.split()) <= room)


@functools.cache
def live(name: str) -> Any:
    model = le.from_pipeline(MODELS[name](), settings={"sizes": [64, 64, 96]})
    model.window = {"sdxl": 20, "flux": 48, "qwen": 40, "sana": 40, "mistral": 210}[name]
    return model


def seen_by_encoders(model: Any, text: Any) -> list[list[int]]:
    """The ids that each text encoder is called with."""
    seen: dict[str, list[int]] = {}
    hooks: list[Any] = []
    for part, network in model._networks.items():
        if part.startswith("text_encoder"):

            def note(module: Any, args: Any, given: Any, part: str = part) -> None:
                ids = given.get("input_ids", args[0] if args else None)
                seen[part] = ids.flatten().tolist()

            hooks.append(network.register_forward_pre_hook(note, with_kwargs=True))
    try:
        with mock.patch("latentedit.models.pipelines.check_parts"):  # it refuses foreign hooks, such as these
            model.embed([text])
    finally:
        for hook in hooks:
            hook.remove()
    return list(seen.values())


def letters(text: str) -> str:
    """Without spaces, which some tokenizers change."""
    return re.sub(r"\s", "", text).casefold()


def check_pair(model: Any, source: str, target: str) -> None:
    """Both captions are read to their end, without the same phrases; what differs is the change."""
    try:
        ((left_out),) = left_out_of(model, [source], [[target]])
    except ConfigError:
        return
    read = [
        [reader.reads(without(caption, phrases)) for caption in (source, target)]
        for reader, phrases in zip(model.text_readers, left_out, strict=True)
    ]
    assert any(map(all, read))
    views = [cut(caption, left_out) for caption in (source, target)]
    ids = [seen_by_encoders(model, view) for view in views]
    tokenizers = [getattr(model.pipeline, part) for part, *_ in model._tokenizers()]
    for index, tokenizer in enumerate(tokenizers):
        for view, seen, whole in zip(views, ids, read[index], strict=True):
            assert not whole or letters(view[index]) in letters(tokenizer.decode(seen[index]))
        parts = [[phrase_key(phrase) for phrase in Caption.of(view[index]).texts] for view in views]
        before = [[phrase_key(phrase) for phrase in Caption.of(caption).texts] for caption in (source, target)]
        if not any(phrase.startswith(END) for phrase in left_out[index]):
            assert {*parts[0]} ^ {*parts[1]} == {*before[0]} ^ {*before[1]}


@pytest.mark.slow
@pytest.mark.parametrize("name", MODELS)
@settings(max_examples=4, phases=[Phase.explicit, Phase.generate])
@given(CAPTIONS, PHRASES, st.integers(0, 11))
@example(["a person", "no hat", *["red hair and black glasses"] * 9], "blue xylophone xylophone", 1)
def test_encoders_see_the_change_alone(name: str, phrases: list[str], new: str, place: int) -> None:
    place %= len(phrases)
    check_pair(live(name), ", ".join(phrases), ", ".join([*phrases[:place], new, *phrases[place + 1 :]]))


@given(CAPTIONS, PHRASES, st.integers(0, 11), st.integers(3, 30))
def test_both_captions_are_cut_alike(phrases: list[str], new: str, place: int, room: int) -> None:
    place %= len(phrases)
    source, target = ", ".join(phrases), ", ".join([*phrases[:place], new, *phrases[place + 1 :]])
    reader = counter(room)
    if source == target:  # nothing is too long of a change that is none
        fit([reader], [source, target])
        return
    try:
        ((left_out),) = fit([reader], [source, target])
    except ConfigError:
        repeated = len({*phrases, new}) <= len(phrases)  # a phrase is left out wherever it stands, so this one stays
        assert repeated or len(new.split()) + len(phrases[0].split()) + len(phrases[place].split()) > room
        return
    cuts = [without(caption, left_out) for caption in (source, target)]
    assert all(map(reader.reads, cuts))
    assert new.split(maxsplit=1)[0] in cuts[1].replace(",", " ").split()
    if reader.reads(source) and reader.reads(target):
        assert (cuts, left_out) == ([source, target], ())


def test_what_is_least_important_goes_first() -> None:
    """Denials, then from the end; never the subject, and never the change."""
    caption = "a man with a red hat, no beard, a smile, on a sofa, at night"
    target = caption.replace("a smile", "a long and sad look")
    expected = ["no beard", "at night", "on a sofa"]
    for count, room in enumerate((18, 16, 14, 11)):
        ((left_out),) = fit([counter(room)], [caption, target])
        assert list(left_out) == expected[:count]
    with pytest.raises(ConfigError, match="'long and sad look'"):
        fit([counter(4)], [caption, target])
    assert fit([counter(4)], [caption]) == (("no beard", "at night", "on a sofa", "a smile", "... red hat"),)


def test_prose_loses_the_same_words_at_its_end() -> None:
    source = "a man who sits on a wooden bench in the old park by the river at dusk"
    for target in (source.replace("sits", "sleeps"), f"{source}, a dog", source.replace("by", "near")):
        ((left_out),) = fit([counter(13)], [source, target])
        cuts = [without(one, left_out) for one in (source, target)]
        assert max(len(one.split()) for one in cuts) == 13
        words = [Counter(re.findall(r"\w+", one)) for one in (source, target, *cuts)]
        assert (words[0] - words[1], words[1] - words[0]) == (words[2] - words[3], words[3] - words[2])


def test_sentences_are_phrases() -> None:
    source = "A man with a hat. He smiles, and holds 1,000 cats. It rains."
    ((left_out),) = fit([counter(8)], [source, source.replace("He smiles", "He cries")])
    assert left_out == ("It rains", "and holds 1,000 cats")
    assert without(source, left_out) == "A man with a hat. He smiles."


def test_an_encoder_without_room_reads_the_beginning_of_the_change() -> None:
    """Where another one reads all of it: as CLIP beside T5."""
    source, target = "a man, a smile, a hat", "a man, a very long and rather sad smile, a hat"
    left_out = fit([counter(5, "CLIP"), counter(20, "T5")], [source, target])
    assert left_out == (("a hat",), ())
    note = "left out of the captions, which are too long: 'a hat' (CLIP reads 5 tokens)"
    assert left_out_note([counter(5, "CLIP"), counter(20, "T5")], left_out) == [note]


@pytest.mark.slow
def test_an_edit_of_a_long_caption(monkeypatch: pytest.MonkeyPatch) -> None:
    """Cut in the search, the verdict, a second edit and the replay; refused before anything is encoded if too long."""
    model, image = live("sdxl"), gray((64, 64))
    source = f"a person with red hair, {', '.join(['a black hat'] * 3)}, no glasses, on a red face"
    edit = functools.partial(le.edit, model, image, source_prompt=source, method="flowedit", num_inference_steps=2)
    with pytest.warns(LatentEditWarning, match="no glasses") as warned:
        result = edit(change="red hair => blue hair")
    assert [str(one.message) for one in warned] == list(result.notes)
    assert len([note for note in result.notes if "left out" in note]) == 1
    assert result.latent.left_out
    left_out = result.latent.left_out[0]
    assert left_out[0][0] == "no glasses"
    (again,) = le.replay(result.record, model, image)
    assert torch.equal(again.latent.z, result.latent.z)
    latent = fitted(le.encode(model, image, source_prompt=source), [[source.replace("red hair", "blue hair")]])
    assert torch.equal(latent.condition.tokens, model.embed([cut(source, left_out)]).tokens)
    assert fitted(latent, [[source.replace("red hair", "blue hair")]]) is latent
    monkeypatch.setattr(type(model), "encode", lambda *_: pytest.fail("encoded"))
    with pytest.raises(ConfigError, match="too long"):
        edit(change=f"red hair => {'xylophone ' * 20}")


PROSE = "a man who stands in a small kitchen beside a warm stove near the window wearing"


@pytest.mark.parametrize(
    ("source", "target", "kept"),
    [
        (f"{PROSE} no hat", f"{PROSE} a red hat", ("wearing no hat", "wearing a red hat")),
        (f"a man who wears no hat {PROSE[6:]}", f"a man who wears a red hat {PROSE[6:]}", ("no hat", "a red hat")),
        (f"{PROSE} a hat, at night", f"{PROSE} a cap, at night", ("a hat", "a cap")),
        (f"{PROSE} a hat and gloves", f"{PROSE} a cap and gloves", ("a hat and", "a cap and")),
    ],
)
def test_prose_loses_the_same_words_before_and_behind_the_change(
    source: str, target: str, kept: tuple[str, str]
) -> None:
    """The subject and the words next to the change stay."""
    ((left_out),) = fit([counter(9)], [source, target])
    for caption, end in zip((source, target), kept, strict=True):
        found = without(caption, left_out)
        assert len(found.split()) <= 9
        assert found.startswith("a man")
        assert end in found
    assert fit([counter(40)], [source, target]) == ((),)


@pytest.mark.parametrize(
    ("text", "old", "new"),
    [
        ("一个男人站在一个小厨房里靠近一个温暖的炉子戴着黑色帽子站着看窗外", "黑色", "红色的大"),
        ("小さな台所で暖かいストーブのそばに立って窓の外を見ている黒い帽子の男", "黒い", "赤い"),
    ],
)
def test_texts_without_blanks_are_cut_by_letters(text: str, old: str, new: str) -> None:
    reader = TextReader(name="letters", room=14, reads=lambda caption: len(caption) <= 14)
    target = text.replace(old, new)
    ((left_out),) = fit([reader], [text, target])
    cuts = [without(caption, left_out) for caption in (text, target)]
    assert max(map(len, cuts)) <= 14
    assert cuts[0].replace(old, new) == cuts[1] != cuts[0]


def test_the_error_names_the_words_that_differ() -> None:
    with pytest.raises(ConfigError) as caught:
        fit([counter(4)], [f"{PROSE} no hat", f"{PROSE} a very large red hat"])
    assert "'a very large red'" in str(caught.value)
    assert "kitchen" not in str(caught.value)
