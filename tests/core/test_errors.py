import pytest

from latentedit.core import errors


@pytest.mark.parametrize(
    ("kind", "builtin"),
    [
        (errors.ConfigError, ValueError),
        (errors.OutputError, OSError),
        (errors.MissingDependencyError, ImportError),
        (errors.UnsupportedDerivativeError, NotImplementedError),
        (errors.ConvergenceError, RuntimeError),
        (errors.CaptionError, RuntimeError),
        (errors.RegistryError, LookupError),
    ],
)
def test_every_error_is_ours_and_what_a_caller_would_expect(kind: type[Exception], builtin: type[Exception]) -> None:
    assert issubclass(kind, errors.LatentEditError)
    assert issubclass(kind, builtin)


def test_a_message_is_one_line_whatever_it_quotes() -> None:
    assert str(errors.ConfigError("no\nsuch  thing\r\nas x")) == "no such  thing as x"
    assert str(errors.OutputError(13, "denied")) == "[Errno 13] denied"


def test_names_and_packages_that_are_missing() -> None:
    assert errors.nearest("portrait", ["portraits", "sd3"]) == "did you mean 'portraits'? known: portraits, sd3"
    assert errors.nearest("zzz", ["portraits"]) == "known: portraits"
    assert errors.require("json", "any").__name__ == "json"
    with pytest.raises(errors.MissingDependencyError, match=r"clone .* pip install '\.\[web\]'$"):
        errors.require("no_such_package", "web")
