"""Images whose color encodes their index in a series."""

from PIL import Image


def plain(index: int, size: tuple[int, int] = (40, 40)) -> Image.Image:
    """An image of one color, which encodes the index."""
    return Image.new("RGB", size, (10 + 3 * index, 200 - 2 * index, 90))


def series(count: int, size: tuple[int, int] = (40, 40)) -> tuple[list[Image.Image], list[str]]:
    return [plain(index, size) for index in range(count)], [f"{index}\nread {index}" for index in range(count)]
