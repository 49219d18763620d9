"""Incomplete, damaged or unsafe model folders are rejected in one line that names the fault."""

import json
import shutil
import socket
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch
from safetensors.torch import load_file, save_file

from latentedit.core.errors import ModelError
from latentedit.models.loading import ModelFolder, open_folder
from latentedit.models.model_settings import check_settings, read_settings
from latentedit.models.registry import load
from tests.models.folders import change_json

TRANSFORMER = "transformer/diffusion_pytorch_model.safetensors"


@pytest.fixture
def folder(folder_without_t5: Path, tmp_path: Path) -> Path:
    return shutil.copytree(folder_without_t5, tmp_path / "model")


def set_config(file: str, **changes: Any) -> Callable[[Path], object]:
    return lambda folder: change_json(folder / file, **changes)


def set_index(**changes: Any) -> Callable[[Path], object]:
    return set_config("model_index.json", **changes)


def remove(file: str) -> Callable[[Path], object]:
    return lambda folder: (folder / file).unlink()


def write_text(file: str, content: str) -> Callable[[Path], object]:
    return lambda folder: (folder / file).write_text(content)


def change_tensor(name: str, change: Callable[[torch.Tensor], torch.Tensor | None]) -> Callable[[Path], object]:
    """Change a tensor of the transformer, or remove it."""

    def damage(folder: Path) -> None:
        tensors = load_file(folder / TRANSFORMER)
        changed = change(tensors.pop(name))
        kept = {**tensors, **({} if changed is None else {name: changed})}
        save_file(kept, folder / TRANSFORMER, metadata={"format": "pt"})

    return damage


FAULTS: list[tuple[Callable[[Path], object], str]] = [
    (remove("model_index.json"), "model_index.json"),
    (write_text("model_index.json", "{"), "model_index.json"),
    (set_index(transformer=["diffusers", "PriorTransformer"]), "transformer PriorTransformer"),
    (set_index(transformer=["diffusers", "FluxTransformer2DModel"]), r"transformer_blocks\.0\.norm1"),
    (set_index(text_encoder_2=[None, None]), "text_encoder_2"),
    (set_index(text_encoder_3=["transformers", "T5EncoderModel"]), "text_encoder_3"),
    (set_index(vae=["os", "AutoencoderKL"]), "vae.*'os'"),
    (set_index(vae=["diffusers", "Nothing"]), "Nothing"),
    (lambda f: shutil.rmtree(f / "vae"), r"vae.config\.json"),
    (remove(TRANSFORMER), TRANSFORMER),
    (remove("vae/config.json"), r"vae.config\.json"),
    (remove("scheduler/scheduler_config.json"), r"scheduler_config\.json"),
    (remove("tokenizer/tokenizer.json"), r"tokenizer\.json"),
    (lambda f: (f / "tokenizer/tokenizer.json").rename(f / "tokenizer/vocab.json"), r"merges\.txt"),
    (write_text("tokenizer/tokenizer.json", "{}"), "StableDiffusion3Pipeline"),
    (lambda f: (f / TRANSFORMER).write_bytes((f / TRANSFORMER).read_bytes()[:-10]), TRANSFORMER),
    (lambda f: (f / TRANSFORMER).rename((f / TRANSFORMER).with_suffix(".bin")), r"\.bin"),
    (change_tensor("proj_out.weight", lambda w: w[:-1].clone()), r"proj_out\.weight.*\[32, 16\]"),
    (change_tensor("proj_out.weight", lambda w: None), r"proj_out\.weight"),
    (set_config("vae/config.json", scaling_factor="x"), "StableDiffusion3Pipeline"),
    (set_config("vae/config.json", block_out_channels=[[]]), "cannot be loaded"),
    (set_config("scheduler/scheduler_config.json", time_shift_type="cubic"), "time_shift_type"),
]


@pytest.mark.parametrize(("damage", "message"), FAULTS, ids=range(len(FAULTS)))
def test_damaged_folders_are_rejected_in_one_line(
    folder: Path, damage: Callable[[Path], object], message: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    damage(folder)
    monkeypatch.setattr(torch, "load", lambda *_, **__: pytest.fail("a pickle was opened"))
    with pytest.raises(ModelError, match=message) as caught:
        load(folder, device="cpu")
    assert "\n" not in str(caught.value)


def test_valid_folders_list_their_parts(folder_with_t5: Path, folder_without_t5: Path) -> None:
    with_t5, without_t5 = open_folder(folder_with_t5), open_folder(folder_without_t5)
    assert "text_encoder_3" in with_t5.shapes
    assert "text_encoder_3" not in without_t5.shapes
    assert with_t5.parts.keys() - without_t5.parts.keys() == {"text_encoder_3", "tokenizer_3"}


def test_the_autoencoder_loses_no_precision(folder: Path) -> None:
    pipeline = open_folder(folder).load(torch.bfloat16)
    stored, loaded = load_file(folder / "vae/diffusion_pytorch_model.safetensors"), pipeline.vae.state_dict()
    assert all(torch.equal(loaded[name], tensor) for name, tensor in stored.items())
    assert {parameter.dtype for parameter in pipeline.transformer.parameters()} == {torch.bfloat16}


def test_loaded_networks_are_frozen_in_evaluation_mode(ddpm: Any, without_t5: Any) -> None:
    for model in (ddpm, without_t5):
        for part in model.pipeline.components.values():
            if isinstance(part, torch.nn.Module):
                assert not part.training
                assert not any(parameter.requires_grad for parameter in part.parameters())


def test_too_little_memory_while_loading_is_called_by_its_name(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """PyTorch raises a plain error on a processor. The folder is not to be downloaded again."""

    def allocate(*_: Any) -> None:
        raise RuntimeError("DefaultCPUAllocator: can't allocate memory: you tried to allocate 9 GB")

    monkeypatch.setattr(ModelFolder, "load", allocate)
    with pytest.raises(ModelError, match=r"too little memory.*pipe\.enable_model_cpu_offload\(\)$"):
        load(folder, device="cpu")


def test_fp16_files_load_as_float32(folder: Path) -> None:
    for file in folder.glob("*/*.safetensors"):
        save_file({k: v.half() for k, v in load_file(file).items()}, file, metadata={"format": "pt"})
    backbone: Any = load(folder, device="cpu")
    assert {parameter.dtype for parameter in backbone._network.parameters()} == {torch.float32}


def test_local_folders_load_offline_and_print_nothing(
    folder: Path, without_t5: Any, monkeypatch: pytest.MonkeyPatch, capfd: pytest.CaptureFixture[str]
) -> None:
    """Pickles that no part reads are ignored."""

    def fail(*_: Any, **__: Any) -> None:
        pytest.fail("a local folder opened a connection")

    monkeypatch.setattr(socket.socket, "connect", fail)
    monkeypatch.setattr(socket, "getaddrinfo", fail)
    (folder / "vae/extra.pt").write_bytes(b"")
    (folder / "transformer/diffusion_pytorch_model.bin").write_bytes(b"")
    assert load(folder, device="cpu").fingerprint == without_t5.fingerprint
    assert capfd.readouterr() == ("", "")


@pytest.mark.parametrize(
    ("change", "key"),
    [
        ({"editors": 3}, "editors"),
        ({"captioner": 5}, "captioner"),
        ({"sizes": [64, "x", 64]}, "sizes.1"),
        ({"guidance": float("inf")}, "guidance"),
        ({"calibration": []}, "calibration"),
        ({"calibration": None}, "calibration"),
        ({"calibration": "abc"}, "calibration"),
    ],
)
def test_settings_of_the_wrong_type_are_rejected(folder: Path, change: dict[str, Any], key: str) -> None:
    (folder / "latentedit.json").write_text(json.dumps(change | {"history": [1, "whatever"]}))
    for check in (lambda: open_folder(folder), lambda: read_settings(folder), lambda: check_settings(change, "mine")):
        with pytest.raises(ModelError, match=key):
            check()
