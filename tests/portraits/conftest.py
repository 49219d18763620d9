import pytest

from latentedit.models.base import Backbone
from latentedit.models.registry import load


@pytest.fixture(scope="session")
def portraits() -> Backbone:
    """The bundled model, on the CPU in float32."""
    return load("portraits", device="cpu")
