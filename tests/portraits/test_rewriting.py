import random

import pytest
from hypothesis import assume, given
from hypothesis import strategies as st

from latentedit.core.errors import ConfigError
from latentedit.encoding.captions.change import Change
from latentedit_portraits import captions
from latentedit_portraits.attributes import NONE, VALUES, Attributes
from latentedit_portraits.captions import (
    COLOR_OF,
    draw_caption,
    full_caption,
    parse,
    phrases_for,
    statements,
    vocabulary,
)
from latentedit_portraits.reader import PortraitReader
from latentedit_portraits.rewriting import rewrite

FIELDS = st.sampled_from([field for field in VALUES if not field.endswith("_color")])
ATTRIBUTES = st.integers(0, 2**32).map(lambda seed: Attributes.draw(random.Random(seed)))
FULL = (
    "a person with pale skin, short black hair, open eyes, flat eyebrows, a smile, no glasses, no beard, a red hoodie, "
    "on a blue background"
)
BALD = FULL.replace("short black hair", "a bald head").replace("no beard", "a gray beard")


def phrases_of(caption: str) -> list[str]:
    return caption.removeprefix("a person with ").split(", ")


def counterfactual(source: Attributes, other: Attributes, field: str) -> Attributes:
    """The source with one part of the other, its color included."""
    names = [field, COLOR_OF[field]] if field in COLOR_OF else [field]
    return source.replace(**{name: getattr(other, name) for name in names})


@given(ATTRIBUTES, ATTRIBUTES, FIELDS)
def test_replacing_a_phrase_gives_the_counterfactuals_full_caption(a: Attributes, c: Attributes, field: str) -> None:
    b = counterfactual(a, c, field)
    assume(a != b)
    source, target = full_caption(a), full_caption(b)
    ((old, new),) = [pair for pair in zip(phrases_of(source), phrases_of(target), strict=True) if pair[0] != pair[1]]
    assert rewrite(source, Change(old=old, new=new)) == target
    assert rewrite(target, Change(old=new, new=old)) == source
    assert rewrite(source, Change(old="", new=new)) == target
    if new in ("no glasses", "no beard", "a bald head"):
        assert rewrite(source, Change(old=old, new="")) == target


@given(ATTRIBUTES, st.sampled_from(sorted(COLOR_OF)), st.data())
def test_replacing_a_color_keeps_the_part(attributes: Attributes, field: str, data: st.DataObject) -> None:
    old = getattr(attributes, COLOR_OF[field])
    new = data.draw(st.sampled_from([value for value in VALUES[COLOR_OF[field]] if value != NONE]))
    assume(old not in (NONE, new))
    noun = phrases_for(field, getattr(attributes, field), None)[0].removeprefix("a ").split()[-1]
    expected = full_caption(attributes.replace(**{COLOR_OF[field]: new}))
    change = Change(old=f"{old} {noun}", new=f"{new} {noun}")
    assert rewrite(full_caption(attributes), change) == expected


@given(ATTRIBUTES, ATTRIBUTES, FIELDS, st.integers(0, 2**32))
def test_one_phrase_changes_in_captions_of_any_wording_and_order(
    a: Attributes, c: Attributes, field: str, seed: int
) -> None:
    generator = random.Random(seed)
    with pytest.MonkeyPatch.context() as patched:
        patched.setattr(captions, "_FULL", 1.0)
        patched.setattr(captions, "_CANONICAL", 0.3)
        caption = draw_caption(a, generator, empty=0.0)
    b = counterfactual(a, c, field)
    assume(a != b)
    color = getattr(b, COLOR_OF[field]) if field in COLOR_OF else None
    new = generator.choice(phrases_for(field, getattr(b, field), color))
    changed = rewrite(caption, Change(old="", new=new))
    assert parse(changed) == parse(full_caption(b))
    pairs = list(zip(caption.split(", "), changed.split(", "), strict=True))
    assert sum(old != new for old, new in pairs) == 1


@given(
    ATTRIBUTES, st.integers(0, 2**32), st.lists(st.sampled_from(vocabulary()), min_size=1, max_size=2), st.booleans()
)
def test_no_change_makes_a_caption_contradict_itself(
    attributes: Attributes, seed: int, words: list[str], removed: bool
) -> None:
    caption = draw_caption(attributes, random.Random(seed))
    text = " ".join(words)
    try:
        changed = rewrite(caption, Change(old=text, new="") if removed else Change(old="", new=text))
    except ConfigError:
        return
    assert changed != caption
    fields = [next(iter(meaning)) for _, meaning in statements(changed)]
    assert len(fields) == len(set(fields))


@pytest.mark.parametrize(
    ("caption", "change", "old", "new"),
    [
        (FULL, "=> red beard", "no beard", "a ginger beard"),
        (FULL, "=> beard", "no beard", "a black beard"),
        (FULL, "no beard => a moustache", "no beard", "a black moustache"),
        (FULL, "Happy  Mouth => FROWNING", "a smile", "a sad mouth"),
        (FULL, "black hair => blonde hair", "short black hair", "short blonde hair"),
        (FULL, "black => brown", "short black hair", "short brown hair"),
        (FULL, "short => long", "short black hair", "long black hair"),
        (FULL, "hair => bald", "short black hair", "a bald head"),
        (FULL, "black hair =>", "short black hair", "short hair"),
        (FULL, "=> jumper", "a red hoodie", "a red sweater"),
        (FULL, "red => green", "a red hoodie", "a green hoodie"),
        (FULL, "person => woman", "a person", "a woman"),
        (FULL, "smile => big grin", "a smile", "a big grin"),
        (FULL, "no glasses => a hat", "no glasses", "a hat"),
        (FULL, "=> a black and white hat", "on a blue background", "on a blue background, a black and white hat"),
        (FULL, "smile =>", "a smile, ", ""),
        (FULL, "=> no smile", "a smile, ", ""),
        # several at once
        (FULL, "=> glasses and a beard", "no glasses, no beard", "glasses, a black beard"),
        (FULL, "a smile, no glasses => sad, glasses", "a smile, no glasses", "a sad mouth, glasses"),
        (FULL, "a smile, short hair => a smile, long hair", "short", "long"),
        (FULL, "a smile => a sad mouth, glasses", "a smile, no glasses", "a sad mouth, glasses"),
        (FULL, "a smile => glasses", "a smile, no glasses", "glasses"),
        (BALD, "beard =>", "a gray beard", "no beard"),
        (BALD, "bald => long hair", "a bald head", "long gray hair"),
        (BALD, "=> blonde", "a gray beard", "a blonde beard"),
    ],
)
def test_changes_of_a_full_caption(caption: str, change: str, old: str, new: str) -> None:
    assert caption.count(old) == 1
    assert rewrite(caption, Change.parse(change)) == caption.replace(old, new)


@pytest.mark.parametrize(
    ("caption", "change", "expected"),
    [
        ("A man with no beard.", "=> beard", "A man with a beard."),
        ("A man with no beard.", "=> blonde hair", "A man with no beard, blonde hair."),
        ("A man with  round glasses , pale skin", "glasses =>", "A man with  no glasses , pale skin"),
        (
            "a tall man wearing a Red  hoodie on a blue wall",
            "red => blue",
            "a tall man wearing a blue hoodie on a blue wall",
        ),
        ("a man with glasses and a beard", "beard => sad", "a man with glasses and no beard, a sad mouth"),
        ("a short man with long hair", "short => tall", "a tall man with long hair"),
        ("", "=> beard", "a beard"),
    ],
)
def test_changes_of_other_captions(caption: str, change: str, expected: str) -> None:
    assert rewrite(caption, Change.parse(change)) == expected


@pytest.mark.parametrize(
    ("caption", "change", "named"),
    [
        (FULL, "long hair => bald", "'long hair'.*'short black hair'"),
        (FULL, "glasses =>", "'no glasses'"),
        (FULL, "=> no moustache", "'moustache'.*'no beard'"),
        (BALD, "hair =>", "'a bald head'"),
        (BALD, "=> black hair", "'black hair'.*'a bald head'"),
        (FULL, "=> red hoodie", "'a red hoodie'"),
        (FULL, "=> open", "'open eyes' or 'a shouting mouth'"),
        (FULL, "=> hair", "'hair'.*bald, short, bob, long, curly, mohawk"),
        (FULL, "a hat =>", "'a hat'"),
        (FULL + ", a hat", "a hat => glasses", "'no glasses' and 'glasses'"),
        ("no beard, a black beard", "=> moustache", "'no beard' and 'a black beard'"),
        ("glasses", "glasses, glasses =>", "'glasses'.*'no glasses'"),
    ],
)
def test_impossible_changes_are_rejected(caption: str, change: str, named: str) -> None:
    with pytest.raises(ConfigError, match=named):
        rewrite(caption, Change.parse(change))


def test_the_captioner_changes_captions_by_the_grammar() -> None:
    changed = PortraitReader(PortraitReader.build(0)).change(
        "a person with no glasses", Change.parse("=> round glasses")
    )
    assert changed == "a person with round glasses"
