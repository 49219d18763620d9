"""Model folders that are incomplete, damaged or unsafe, each refused in one line that names the fault."""

import json
import os
import shutil
import socket
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch
from safetensors.torch import load_file, save_file

from latentedit.core.errors import ModelError
from latentedit.models.folder_settings import check_settings
from latentedit.models.loading import computing, open_folder
from latentedit.models.registry import load
from latentedit.models.settings_file import read_settings
from tests.models.folders import change_json

TRANSFORMER = "transformer/diffusion_pytorch_model.safetensors"


@pytest.fixture
def folder(folder_without_t5: Path, tmp_path: Path) -> Path:
    return shutil.copytree(folder_without_t5, tmp_path / "model")


def change_tensor(file: Path, name: str, change: Callable[[torch.Tensor], torch.Tensor | None]) -> None:
    tensors = load_file(file)
    changed = change(tensors.pop(name))
    save_file({**tensors, **({} if changed is None else {name: changed})}, file, metadata={"format": "pt"})


def cut(file: Path) -> None:
    file.write_bytes(file.read_bytes()[:-10])


def to_pickle(file: Path) -> None:
    file.rename(file.with_suffix(".bin"))


def pipe_at(file: Path) -> None:
    file.unlink(missing_ok=True)
    os.mkfifo(file)


def link_at(file: Path, target: str) -> None:
    file.unlink()
    file.symlink_to(target)


FAULTS: dict[str, tuple[Callable[[Path], object], str]] = {
    "no index": (lambda f: (f / "model_index.json").unlink(), "no model_index.json"),
    "index that is no JSON": (lambda f: (f / "model_index.json").write_text("{"), "no sound JSON|not sound JSON"),
    "another pipeline": (
        lambda f: change_json(f / "model_index.json", _class_name="FluxPriorPipeline"),
        "holds a FluxPriorPipeline, which is not supported.*FluxPipeline.*CallableBackbone",
    ),
    "a variance-exploding pipeline": (
        lambda f: change_json(f / "model_index.json", _class_name="ScoreSdeVePipeline"),
        "a ScoreSdeVePipeline, which is variance-exploding.*no bound",
    ),
    "a pipeline without gradients": (
        lambda f: change_json(f / "model_index.json", _class_name="HiDreamImagePipeline"),
        "a HiDreamImagePipeline, which runs its experts without gradients",
    ),
    "another transformer": (
        lambda f: change_json(f / "model_index.json", transformer=["diffusers", "FluxTransformer2DModel"]),
        "a FluxTransformer2DModel, not a SD3Transformer2DModel",
    ),
    "null part": (lambda f: change_json(f / "model_index.json", text_encoder_2=[None, None]), "text_encoder_2.*None"),
    "half a T5": (
        lambda f: change_json(f / "model_index.json", text_encoder_3=["transformers", "T5EncoderModel"]),
        "text_encoder_3",
    ),
    "missing parts": (
        lambda f: [shutil.rmtree(f / part) for part in ("vae", "tokenizer")],
        "has no folder tokenizer, vae,",
    ),
    "missing weights": (lambda f: (f / TRANSFORMER).unlink(), "no weights"),
    "missing configuration": (lambda f: (f / "vae/config.json").unlink(), r"vae.config\.json"),
    "missing scheduler": (lambda f: (f / "scheduler/scheduler_config.json").unlink(), r"scheduler_config\.json"),
    "missing tokenizer": (lambda f: (f / "tokenizer/tokenizer.json").unlink(), r"tokenizer\.json"),
    "broken tokenizer": (lambda f: (f / "tokenizer/tokenizer.json").write_text("{}"), "tokenizer"),
    "truncated weights": (lambda f: cut(f / TRANSFORMER), f"{TRANSFORMER}.*truncated"),
    "wrong shape": (
        lambda f: change_tensor(f / TRANSFORMER, "proj_out.weight", lambda w: w[:-1].clone()),
        rf"tensor proj_out\.weight in .*{TRANSFORMER} has shape \[31, 16\], and .* \[32, 16\]",
    ),
    "wrong shape of a text encoder": (
        lambda f: change_tensor(
            f / "text_encoder/model.safetensors", "text_projection.weight", lambda w: w[1:].clone()
        ),
        r"text_projection\.weight in .*text_encoder.model\.safetensors has shape \[7, 8\]",
    ),
    "missing tensor": (
        lambda f: change_tensor(f / TRANSFORMER, "proj_out.weight", lambda w: None),
        r"tensor proj_out\.weight is missing in",
    ),
    "another configuration": (
        lambda f: change_json(f / "transformer/config.json", num_layers=3),
        "do not belong together",
    ),
    "impossible scheduler": (
        lambda f: change_json(f / "scheduler/scheduler_config.json", time_shift_type="cubic"),
        "time_shift_type",
    ),
    "pickle instead of safetensors": (lambda f: to_pickle(f / TRANSFORMER), r"\.bin.*not loaded"),
    "a pipe in a part": (lambda f: pipe_at(f / "vae/config.json"), "no regular file"),
    "a pipe beside a part": (lambda f: pipe_at(f / "tokenizer/special_tokens_map.json"), "no regular file"),
    "a pipe for the index": (lambda f: pipe_at(f / "model_index.json"), "no regular file"),
    "a pipe for the weights": (lambda f: pipe_at(f / TRANSFORMER), "no regular file"),
    "an endless file": (lambda f: link_at(f / "vae/config.json", "/dev/zero"), "no regular file"),
    "endless weights": (lambda f: link_at(f / TRANSFORMER, "/dev/zero"), "no regular file"),
    "a deep index": (lambda f: (f / "model_index.json").write_text("[" * 200_000), "nested too deeply"),
    "a deep configuration": (lambda f: (f / "text_encoder/config.json").write_text("[" * 200_000), "nested too deeply"),
    "deep settings": (lambda f: (f / "latentedit.json").write_text('{"a":' * 200_000), "nested too deeply"),
    "a deep tokenizer": (lambda f: (f / "tokenizer/tokenizer.json").write_text("[" * 200_000), "does not load"),
    **{
        f"text encoder with {change}": (
            lambda f, change=change: change_json(f / "text_encoder/config.json", **change),
            "text_encoder does not load as the text_encoder",
        )
        for change in ({"hidden_size": None}, {"hidden_size": 0}, {"hidden_size": "x"}, {"hidden_act": 0})
    },
    "weights of another library": (
        lambda f: change_json(f / "model_index.json", vae=["os", "AutoencoderKL"]),
        "vae in .* is a",
    ),
    "damaged settings": (lambda f: (f / "latentedit.json").write_text("{'a': 1}"), r"latentedit\.json"),
}


@pytest.mark.parametrize("fault", FAULTS)
def test_a_bad_folder_is_refused_in_one_line(folder: Path, fault: str, monkeypatch: pytest.MonkeyPatch) -> None:
    spoil, message = FAULTS[fault]
    spoil(folder)
    monkeypatch.setattr(torch, "load", lambda *_, **__: pytest.fail("a pickle was opened"))
    with pytest.raises(ModelError, match=message) as caught:
        load(folder, device="cpu")
    assert "\n" not in str(caught.value)


@pytest.mark.slow
def test_a_pickle_that_nothing_reads_does_no_harm(folder: Path, without_t5: Any) -> None:
    (folder / "vae/extra.pt").write_bytes(b"")
    (folder / "transformer/diffusion_pytorch_model.bin").write_bytes(b"")
    assert load(folder, device="cpu").fingerprint == without_t5.fingerprint


def test_a_good_folder_is_described(folder_with_t5: Path, folder_without_t5: Path) -> None:
    three, two = open_folder(folder_with_t5), open_folder(folder_without_t5)
    assert "text_encoder_3" in three.weights
    assert "text_encoder_3" not in two.weights
    assert three.parts.keys() - two.parts.keys() == {"text_encoder_3", "tokenizer_3"}
    assert open_folder(folder_with_t5, text_encoders="required").left_out == {"text_encoder_3", "tokenizer_3"}


@pytest.mark.slow
def test_fp16_files_load_as_float32(folder: Path, without_t5: Any) -> None:
    for file in folder.glob("*/*.safetensors"):
        save_file({k: v.half() for k, v in load_file(file).items()}, file, metadata={"format": "pt"})
    backbone: Any = load(folder, device="cpu")
    assert {parameter.dtype for parameter in backbone._network.parameters()} == {torch.float32}
    assert backbone.fingerprint != without_t5.fingerprint


@pytest.mark.slow
def test_sharded_weights_load(folder: Path, without_t5: Any) -> None:
    whole = load_file(folder / TRANSFORMER)
    (folder / TRANSFORMER).unlink()
    place, names = folder / "transformer", sorted(whole)
    weight_map: dict[str, str] = {}
    for number, part in enumerate((names[:20], names[20:]), start=1):
        shard = f"diffusion_pytorch_model-{number:05}-of-00002.safetensors"
        save_file({name: whole[name] for name in part}, place / shard, metadata={"format": "pt"})
        weight_map |= dict.fromkeys(part, shard)
    index = {"metadata": {"total_size": sum(t.nbytes for t in whole.values())}, "weight_map": weight_map}
    (place / "diffusion_pytorch_model.safetensors.index.json").write_text(json.dumps(index))
    backbone: Any = load(folder, device="cpu")
    assert all(torch.equal(backbone._network.state_dict()[name], whole[name]) for name in names)
    (place / "diffusion_pytorch_model-00002-of-00002.safetensors").unlink()
    with pytest.raises(
        ModelError, match=r"1 of 2 shards are missing in .*: diffusion_pytorch_model-00002-of-00002.safetensors"
    ):
        load(folder, device="cpu")


@pytest.mark.slow
def test_local_folders_never_ask_the_network_and_load_in_silence(
    folder_with_t5: Path, monkeypatch: pytest.MonkeyPatch, capfd: pytest.CaptureFixture[str]
) -> None:
    def refuse(*_: Any, **__: Any) -> None:
        pytest.fail("a local folder opened a connection")

    monkeypatch.setattr(socket.socket, "connect", refuse)
    monkeypatch.setattr(socket, "getaddrinfo", refuse)
    load(folder_with_t5, device="cpu")
    assert capfd.readouterr() == ("", "")


@pytest.mark.parametrize(
    ("file", "change", "said"),
    [
        ("text_encoder/config.json", {"num_hidden_layers": -1}, "says num_hidden_layers -1, where 1 to 1000"),
        ("text_encoder/config.json", {"num_hidden_layers": 10**7}, "says num_hidden_layers 10000000, where 1 to 1000"),
        ("transformer/config.json", {"num_layers": 10**7}, "says num_layers 10000000, where 0 to 1000 make sense"),
        ("transformer/config.json", {"deep": {"num_layers": 10**7}}, "says num_layers 10000000"),
        ("vae/config.json", {"down_block_types": ["x"] * 1001}, "lists more than 1000 down_block_types"),
        (
            "vae/config.json",
            {"scaling_factor": "x"},
            "Pipeline cannot be made of .*: could not convert",
        ),
        ("transformer/config.json", {"patch_size": 0}, "cannot be made of .*division|does not load .*division"),
        ("vae/config.json", {"block_out_channels": [[]]}, "an estimate of its memory cannot be made of "),
    ],
)
def test_configurations_that_make_no_network(folder: Path, file: str, change: dict[str, Any], said: str) -> None:
    """M2 of the fuzzing: neither a traceback, nor a network of ten million layers."""
    change_json(folder / file, **change)
    with pytest.raises(ModelError, match=said):
        load(folder, device="cpu")


@pytest.mark.parametrize(
    ("change", "said"),
    [
        ({"editors": 3}, "latentedit.json are unsound, 'editors': input should be"),
        ({"editors": {"eim": []}}, "'editors.eim': input should be"),
        ({"captioner": 5}, "'captioner': input should be a valid string. Correct that one, or leave it out"),
        ({"sizes": [64, "x", 64]}, "'sizes.1': "),
        ({"sizes": [64, 64]}, "'sizes': "),
        ({"sizes": [64, 64, 10**9]}, "'sizes.2': "),
        ({"guidance": float("inf")}, "'guidance': "),
        ({"zero_tokens": 10**9}, "'zero_tokens': "),
        ({"vocabulary": "abc"}, "'vocabulary': "),
        ({"quality": 1}, "'quality': "),
    ],
)
def test_recommendations_of_another_type(folder: Path, change: dict[str, Any], said: str) -> None:
    (folder / "latentedit.json").write_text(json.dumps(change | {"history": [1, "whatever"]}))
    with pytest.raises(ModelError, match=said):
        open_folder(folder)
    with pytest.raises(ModelError, match=said):
        read_settings(folder)
    with pytest.raises(ModelError, match="settings of mine are unsound"):
        check_settings(change, "mine")


@pytest.mark.slow
def test_a_configuration_that_loads_and_does_not_compute_is_said_of_the_model(folder: Path) -> None:
    change_json(folder / "text_encoder/config.json", layer_norm_eps=None)
    model = load(folder, device="cpu")
    with pytest.raises(ModelError, match=r"^the networks of .* load and do not compute: layer_norm\(\).*NoneType"):
        model.embed(["a man"])
    with pytest.raises(TypeError, match="ours"), computing("a model"):
        raise TypeError("ours")
