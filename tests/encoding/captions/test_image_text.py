import shutil
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import huggingface_hub
import pytest
import torch
from safetensors.torch import load_file, save_file
from torch import Tensor
from transformers import AutoProcessor, AutoTokenizer, BertConfig

from latentedit.core.errors import ConfigError, MissingDependencyError, ModelError
from latentedit.encoding.captions import image_text
from latentedit.encoding.captions.base import Captioner
from latentedit.encoding.captions.image_text import ImageToText
from latentedit.numerics.rng import draw
from latentedit.testing.contracts.captioner import CaptionerContract
from tests.encoding.miniature_captioners import save_blip, save_florence, save_llava
from tests.models.folders import change_json

PIXELS = draw((2, 3, 40, 24), seed=0, purpose="contract").clamp(-1, 1)
LONGEST = 12
WEIGHTS = "model.safetensors"
SMALL_BERT = BertConfig(vocab_size=8, hidden_size=8, num_hidden_layers=1, num_attention_heads=1, intermediate_size=8)


@pytest.fixture(scope="module", autouse=True)
def limit_caption_length() -> Iterator[None]:
    """Untrained networks never end their captions."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(image_text, "_CAPTION_TOKENS", LONGEST)
        yield


@pytest.fixture(scope="session")
def folders(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Path]:
    root = tmp_path_factory.mktemp("captioners")
    savers = {"blip": save_blip, "florence": save_florence, "llava": save_llava}
    return {name: save(root / name) for name, save in savers.items()}


@pytest.fixture
def copy(folders: dict[str, Path], tmp_path: Path) -> Path:
    """A copy of the chat miniature, to be damaged."""
    return shutil.copytree(folders["llava"], tmp_path / "copy")


class TestImageToText(CaptionerContract):
    @pytest.fixture(
        scope="class",
        params=[
            "blip",
            pytest.param("florence", marks=pytest.mark.slow),
            pytest.param("llava", marks=pytest.mark.slow),
        ],
    )
    def captioner(self, folders: dict[str, Path], request: pytest.FixtureRequest) -> Captioner:
        return ImageToText.from_name(str(folders[request.param]))


def changed_weights(folder: Path, change: Callable[[dict[str, Tensor]], dict[str, Tensor]]) -> None:
    save_file(change(load_file(folder / WEIGHTS)), folder / WEIGHTS, metadata={"format": "pt"})


def test_models_keep_their_stored_dtype(copy: Path) -> None:
    changed_weights(copy, lambda weights: {name: value.to(torch.bfloat16) for name, value in weights.items()})
    change_json(copy / "config.json", dtype="bfloat16")
    captioner = ImageToText.from_name(str(copy))
    kinds = {(one.dtype, one.requires_grad) for one in captioner._network.parameters()}
    assert kinds == {(torch.bfloat16, False)}
    assert all(captioner.caption(PIXELS))


def test_captions_are_limited_in_length(folders: dict[str, Path], monkeypatch: pytest.MonkeyPatch) -> None:
    captioner = ImageToText.from_name(str(folders["llava"]))
    generate, counts = captioner._network.generate, list[int]()

    def counting_generate(**inputs: Any) -> Tensor:
        tokens = generate(**inputs)
        counts.append(tokens.shape[1] - inputs["input_ids"].shape[1])
        return tokens

    monkeypatch.setattr(captioner._network, "generate", counting_generate)
    captioner.caption(PIXELS)
    assert counts == [LONGEST] * 2


def test_only_models_that_chat_follow_a_request(folders: dict[str, Path], monkeypatch: pytest.MonkeyPatch) -> None:
    for name, follows in (("blip", False), ("florence", False), ("llava", True)):
        captioner = ImageToText.from_name(str(folders[name]))
        monkeypatch.setattr(captioner, "answer", lambda image, prompt: "SOURCE: a man\nTARGET: a man, a hat")
        if follows:
            assert [one.target for one in captioner.describe_both(PIXELS, "add a hat")] == ["a man, a hat"] * 2
        else:
            with pytest.raises(ConfigError, match=name):
                captioner.describe_both(PIXELS, "add a hat")


@pytest.mark.slow_except("<lambda>-COPY2")
@pytest.mark.parametrize(
    ("damage", "message"),
    [
        (lambda f: (f / WEIGHTS).unlink(), "COPY"),
        (lambda f: changed_weights(f, lambda weights: dict(sorted(weights.items())[1:])), "COPY"),
        (SMALL_BERT.save_pretrained, "COPY.*BertConfig"),
        (lambda f: (f / "tokenizer.json").unlink(), "COPY"),
        (lambda f: (f / WEIGHTS).rename(f / "pytorch_model.bin"), f"COPY.*{WEIGHTS}"),
    ],
)
def test_damaged_folders_are_rejected_in_one_line(copy: Path, damage: Callable[[Path], object], message: str) -> None:
    damage(copy)
    with pytest.raises(ModelError, match=message.replace("COPY", str(copy))) as error:
        ImageToText.from_name(str(copy))
    assert len(str(error.value).splitlines()) == 1


def test_pickles_next_to_the_weights_are_not_opened(copy: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Clones of many repositories contain such pickles."""
    monkeypatch.setattr(torch, "load", lambda *_, **__: pytest.fail("a pickle was opened"))
    (copy / "pytorch_model.bin").write_bytes(b"")
    assert ImageToText.from_name(str(copy)).name == str(copy)


def test_other_names_are_rejected() -> None:
    for name in ("./nowhere", "/no/where/at/all", "a/b/c", "../x y"):
        with pytest.raises(ModelError):
            ImageToText.from_name(name)


def test_remote_code_is_not_run(copy: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    recorded: list[object] = []
    monkeypatch.setattr("builtins.input", recorded.append)
    marker = copy / "marker"
    (copy / "code.py").write_text(f"open({str(marker)!r}, 'w')\n")
    remote = {"AutoConfig": "code.Settings", "AutoModelForImageTextToText": "code.Model", "AutoProcessor": "code.P"}
    change_json(copy / "config.json", auto_map=remote, model_type="of their own")
    change_json(copy / "processor_config.json", auto_map=remote)
    with pytest.raises(ModelError):
        ImageToText.from_name(str(copy))
    assert not marker.exists()
    assert recorded == [], "the user was asked whether to run it"


def test_incomplete_processors_are_rejected(folders: dict[str, Path], monkeypatch: pytest.MonkeyPatch) -> None:
    def fail(*_: object, **__: object) -> None:
        raise ImportError("\nVideoProcessor requires Torchvision but it was not found. Check out the\npage.")

    monkeypatch.setattr(AutoProcessor, "from_pretrained", fail)
    with pytest.raises(MissingDependencyError):
        ImageToText.from_name(str(folders["llava"]))
    monkeypatch.setattr(AutoProcessor, "from_pretrained", AutoTokenizer.from_pretrained)
    with pytest.raises(ModelError):
        ImageToText.from_name(str(folders["blip"]))


@pytest.mark.parametrize(("name", "revision"), [("org/tiny", None), ("org/tiny@v1.0", "v1.0")])
def test_hub_ids_download_neither_pickles_nor_code(
    folders: dict[str, Path], monkeypatch: pytest.MonkeyPatch, name: str, revision: str | None
) -> None:
    recorded: dict[str, Any] = {}

    def snapshot(repository: str, **options: object) -> str:
        recorded.update(options, repository=repository)
        return str(folders["blip"])

    monkeypatch.setattr(huggingface_hub, "snapshot_download", snapshot)
    captioner = ImageToText.from_name(name)
    assert captioner.name == name
    assert (recorded["repository"], recorded["revision"]) == ("org/tiny", revision)
    needed = [file.name for file in folders["llava"].iterdir()] + ["spiece.model", "merges.txt"]
    unwanted = ["pytorch_model.bin", "modeling.py", "onnx/model.safetensors", "model.fp16.safetensors", "x.pkl"]
    selected = huggingface_hub.utils.filter_repo_objects(
        needed + unwanted, allow_patterns=recorded["allow_patterns"], ignore_patterns=recorded["ignore_patterns"]
    )
    assert sorted(selected) == sorted(needed)
