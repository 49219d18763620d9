"""The verdict compared with a reader of attributes: what was requested, and what was not."""

from typing import Any, final

import pytest
from typing_extensions import override

from latentedit.editing.answer import Wanted, answered
from latentedit.editors.judge import Verdict
from latentedit.encoding.captions.base import AttributeReader
from tests.editors.colors import ColorBackbone

BEFORE = {"hair": "short", "hair_color": "brown", "hat": "none", "hat_color": "none", "ground": "blue"}
CAPTION = "a man with short brown hair, no hat, a blue ground"
DONE = Verdict(word="done", share=1.0, opacity=1.0, residual=1.0)


class SilentReader(AttributeReader):
    """Reads no captions."""

    def caption(self, pixels: Any) -> list[str]:
        raise NotImplementedError

    def read(self, pixels: Any) -> list[dict[str, str]]:
        raise NotImplementedError


@final
class Reader(SilentReader):
    """Reads "brown short hair", "a red hat", "a blue ground"."""

    @override
    def stated(self, caption: str) -> dict[str, str]:
        found: dict[str, str] = {}
        for phrase in caption.partition("with ")[2].split(", "):
            *adjectives, noun = phrase.removeprefix("a ").split()
            for word in adjectives:
                if word in ("short", "long") and noun == "hair":
                    found["hair"] = word
                elif word in ("brown", "blue", "red", "pink"):
                    found[f"{noun}_color" if noun != "ground" else noun] = word
            if noun == "hat":
                found["hat"] = "none" if adjectives == ["no"] else "there"
                found.setdefault("hat_color", "none" if adjectives == ["no"] else "red")
        return found


class Words(ColorBackbone):
    """Knows all words but one."""

    def unseen_words(self, text: str) -> list[str]:
        return [word for word in text.split() if word == "flurble"]


def verdict(target: str, *, verdict: Verdict = DONE, reader: Any = None, **after: str) -> Verdict:
    wanted = Wanted.of(Words(), reader or Reader(), CAPTION, target)
    return answered(verdict, wanted, BEFORE, {**BEFORE, **after})


def with_phrase(old: str, new: str) -> str:
    return CAPTION.replace(old, new)


@pytest.mark.parametrize(
    ("old", "new", "after", "word", "also"),
    [
        ("short", "long", {"hair": "long"}, "done", ()),
        ("short", "long", {}, "not done", ()),
        ("short", "long", {"hair": "curly"}, "not done", ()),
        ("short", "long", {"hair": "long", "ground": "pink"}, "done, but also", ("ground blue -> pink",)),
        ("short", "long", {"ground": "pink"}, "not done", ("ground blue -> pink",)),
        ("short brown", "long red", {"hair": "long"}, "partly done", ()),
        ("short brown", "long red", {"hair": "long", "hair_color": "red"}, "done", ()),
        ("no hat", "a red hat", {"hat": "there", "hat_color": "red"}, "done", ()),  # its color is no other change
        ("brown", "red", {"hair_color": "red", "hat": "there"}, "done, but also", ("hat none -> there",)),
    ],
)
def test_the_verdict_names_what_was_done_and_what_else(
    old: str, new: str, after: dict[str, str], word: str, also: tuple[str, ...]
) -> None:
    found = verdict(with_phrase(old, new), **after)
    assert (found.word, found.also) == (word, also)
    assert (found == DONE) == (word == "done")
    assert found.text.endswith(" -> pink") == ("ground" in after)


@pytest.mark.parametrize("new", ["flurble hair", "gorgeous hair", "flurble long hair"])
def test_words_that_nobody_reads_are_not_known(new: str) -> None:
    found = verdict(with_phrase("short brown hair", new), hair="long")
    assert (found.word, found.share) == ("not known", None)
    assert repr(new) in found.reason or "flurble" in found.reason


def test_without_a_reader_only_words_decide() -> None:
    for reader in (object(), SilentReader()):
        assert verdict(with_phrase("short", "gorgeous"), reader=reader, ground="pink") == DONE
        assert verdict(with_phrase("short", "flurble"), reader=reader).word == "not known"


@pytest.mark.parametrize("word", ["damaged", "not known"])
def test_other_verdicts_stay(word: Any) -> None:
    given = Verdict(word=word, residual=3.0)
    assert verdict(with_phrase("short", "flurble"), verdict=given, ground="pink") == given


def test_a_part_that_appears_has_a_color_of_some_kind() -> None:
    """Where only the part was requested; the color of another part is a change of its own."""
    wanted = Wanted(values={"hat": "there"}, unread=())
    after = {**BEFORE, "hat": "there", "hat_color": "red"}
    assert answered(DONE, wanted, BEFORE, after) == DONE
    gone = {name: value for name, value in BEFORE.items() if name != "hair_color"} | {"hair_color": "none"}
    assert answered(DONE, wanted, BEFORE, {**gone, "hat": "there"}).also == ("hair_color brown -> none",)


def test_what_the_reader_is_not_sure_of_is_partly_done() -> None:
    wanted = Wanted(values={"hair": "long"}, unread=())
    unsure = {name: value for name, value in BEFORE.items() if name != "hair"}
    found = answered(DONE, wanted, BEFORE, unsure)
    assert (found.word, found.reason) == ("partly done", "the reader sees hair uncertain")


def test_what_only_the_reader_sees_is_partly_done() -> None:
    """If it was not there before: a caption may contradict its image."""
    missed = Verdict(word="not done", share=0.0, residual=1.0)
    target = with_phrase("short brown hair", "long brown hair")
    assert verdict(target, verdict=missed, hair="long").word == "partly done"
    assert verdict(target, verdict=missed) == missed
    wanted = Wanted(values={"hair": "short"}, unread=())
    assert answered(missed, wanted, BEFORE, BEFORE) == missed


def test_a_reader_looks_for_the_changes_at_full_strength_alone() -> None:
    """A hat at 1 and pink hair at a half: the reader may see half pink hair as any hair."""
    target = "a man with short pink hair, a red hat, a blue ground"
    full = with_phrase("no hat", "a red hat")
    wanted = Wanted.of(Words(), Reader(), CAPTION, target, full=full)
    there = {**BEFORE, "hat": "there", "hat_color": "red"}
    for hair in ("short", "bald"):
        assert answered(DONE, wanted, BEFORE, {**there, "hair": hair, "hair_color": "none"}) == DONE
        assert answered(DONE, wanted, BEFORE, {**BEFORE, "hair": hair}).word == "not done"
    assert answered(DONE, wanted, BEFORE, {**there, "ground": "pink"}).word == "done, but also"
    nothing = Wanted.of(Words(), Reader(), CAPTION, target, full=CAPTION)
    assert answered(DONE, nothing, BEFORE, {**BEFORE, "hair": "bald", "ground": "pink"}) == DONE
    unread = Wanted.of(Words(), Reader(), CAPTION, with_phrase("short", "flurble"), full=CAPTION)
    assert answered(DONE, unread, BEFORE, BEFORE).word == "not known"


def test_some_of_several_changes_are_counted() -> None:
    found = verdict(with_phrase("short brown", "long red"), hair="long")
    assert found.label == "partly done"
    assert found.reason.startswith("1 of 2")
