from tests.editors.conftest import colours

__all__ = ["colours"]
