import pytest

from latentedit.backbones.base import Backbone
from latentedit.backbones.registry import load


@pytest.fixture(scope="session")
def portraits() -> Backbone:
    """The bundled model, on the CPU in float32."""
    return load("portraits", device="cpu")
