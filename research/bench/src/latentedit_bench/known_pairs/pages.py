"""Drawn pages of text and drawn patterns, whose every word and tile is known."""

import numpy as np
from PIL import Image, ImageDraw, ImageFont

from latentedit_bench.known_pairs.damages import Pixels, as_pixels, grain

Word = tuple[int, int, str]  # left, top and text
_WORDS = (
    "the", "for", "order", "lamp", "invoice", "total", "paid", "open", "142", "1,903", "March", "garden", "window",
    "street", "between", "quickly", "letter", "account", "seven", "blue", "shipping", "review", "north", "table",
)  # fmt: skip
_LETTERS = "abcdefghijkmnopqrstuvwxyz"


def drawn_words(size: tuple[int, int], px: int, generator: np.random.Generator) -> list[Word]:
    """Words in a type of this size that fill a page of this width and height, with blanks of unequal width."""
    font, words = ImageFont.load_default(px), list[Word]()
    for top in range(px, size[1] - 2 * px, 2 * px):
        left, text = px, str(generator.choice(_WORDS))
        while (right := left + round(font.getlength(text))) < size[0] - px:
            words.append((left, top, text))
            left, text = right + int(generator.integers(px // 3, 4 * px)), str(generator.choice(_WORDS))
    return words


def reworded(what: str, words: list[Word], generator: np.random.Generator, *, rows: tuple[int, int]) -> list[Word]:
    """The words, one between these rows changed, by a letter or a full stop, or left out; the others stay in place."""
    place = int(generator.choice([at for at, (_, top, _) in enumerate(words) if rows[0] <= top < rows[1]]))
    left, top, text = words[place]
    if what == "full stop":
        text += "."
    elif what == "letter":
        text = str(generator.choice([one for one in _LETTERS if one != text[0]])) + text[1:]
    elif what == "word":
        text = str(generator.choice([one for one in _WORDS if len(one) <= len(text) and one != text]))
    return [*words[:place], *([] if what == "word removed" else [(left, top, text)]), *words[place + 1 :]]


def drawn_page(size: tuple[int, int], px: int, words: list[Word]) -> Pixels:
    """The words in ink on paper, with a rule below each line."""
    image = Image.new("RGB", size, (250, 248, 244))
    draw, font = ImageDraw.Draw(image), ImageFont.load_default(px)
    for left, top, text in words:
        draw.line((px, top + round(1.5 * px), size[0] - px, top + round(1.5 * px)), fill=(214, 216, 222))
        draw.text((left, top), text, (36, 38, 46), font)
    return np.asarray(image)


def drawn_pattern(name: str, size: tuple[int, int], across: int, generator: np.random.Generator) -> Pixels:
    """Bricks, keys or stripes of a period in pixels, with grain; bricks differ a little, keys by their letters."""
    image = Image.new("RGB", size, (122, 116, 110))
    draw, font = ImageDraw.Draw(image), ImageFont.load_default(across // 2)
    for row, top in enumerate(range(0, size[1], across // 2 if name == "brick" else across)):
        for left in range(-across, size[0], across):
            x, tone = left + (name == "brick" and row % 2) * across // 2, int(generator.normal(0, 6))
            if name == "stripes":
                draw.rectangle((x, top, x + across // 2, top + across), fill=(60, 80, 130))
            elif name == "brick":
                draw.rectangle((x, top, x + across - 4, top + across // 2 - 4), fill=(150 + tone, 84 + tone, 66))
            else:
                draw.rectangle((x, top, x + across - 4, top + across - 4), fill=(44, 46, 50))
                draw.text((x + across // 4, top + across // 8), str(generator.choice(list(_LETTERS))), "white", font)
    plain = np.asarray(image, dtype=np.float32)
    return as_pixels(plain + grain(plain, 2.0, generator))
