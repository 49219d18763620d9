"""The verdict compared with a reader of attributes: what was requested, and what was not."""

from typing import Any, final

import pytest
from typing_extensions import override

from latentedit.editors.answer import Wanted, answered
from latentedit.editors.judge import Verdict
from latentedit.latents.captions.base import AttributeReader
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


def test_done_needs_what_was_requested() -> None:
    target = with_phrase("short brown hair", "long brown hair")
    assert verdict(target, hair="long") == DONE
    found = verdict(target)
    assert (found.word, found.reason) == ("not done", "the reader sees hair short")
    assert verdict(target, hair="curly").word == "not done"


def test_what_changed_without_a_request_is_named() -> None:
    target = with_phrase("short brown hair", "long brown hair")
    found = verdict(target, hair="long", ground="pink")
    assert found.word == found.label == "done, but also"
    assert found.text == "done, but also: ground blue -> pink"
    missed = verdict(target, ground="pink")
    assert (missed.word, missed.also) == ("not done", ("ground blue -> pink",))
    assert missed.text.endswith("; also: ground blue -> pink")


def test_one_of_two_changes_is_partly_done() -> None:
    target = with_phrase("short brown hair", "long red hair")
    assert verdict(target, hair="long").word == "partly done"
    assert verdict(target, hair="long", hair_color="red") == DONE


def test_the_color_of_what_appears_is_no_change_of_its_own() -> None:
    target = with_phrase("no hat", "a red hat")
    assert verdict(target, hat="there", hat_color="red") == DONE
    appeared = verdict(with_phrase("brown hair", "red hair"), hair_color="red", hat="there", hat_color="blue")
    assert appeared.also == ("hat none -> there", "hat_color none -> blue")


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
