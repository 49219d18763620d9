"""Weight files: headers, fingerprints and hashes; and the settings file."""

import json
import os
import struct
from copy import deepcopy
from pathlib import Path
from typing import Any

import pytest
import torch
from peft import LoraConfig
from safetensors.torch import save_file
from transformers import CLIPTextConfig, CLIPTextModel

from latentedit.core.errors import ModelError
from latentedit.core.rng import seeded
from latentedit.models import weights as weights_module
from latentedit.models.model_settings import change_json, read_settings, write_settings
from latentedit.models.weights import fingerprint, live_fingerprint, refuse_pickles, tensor_shapes, weight_files


@pytest.fixture
def file(tmp_path: Path) -> Path:
    path = tmp_path / "model.safetensors"
    save_file({"a": torch.zeros(2, 3), "b": torch.ones(4, dtype=torch.float16)}, path, metadata={"format": "pt"})
    return path


def header(text: str, data: int = 0) -> bytes:
    return struct.pack("<Q", len(text)) + text.encode() + bytes(data)


TENSOR = '{"a":{"dtype":"F32","shape":[1],"data_offsets":[0,4]}%s}'


@pytest.mark.parametrize(
    "content",
    [
        b"<html>not a model</html>",
        header(TENSOR % "", 5),
        header(TENSOR % "", 3),
        header(TENSOR % "")[:7],
        header(TENSOR % ',"b":{"dtype":"F32","shape":[1],"data_offsets":[0,4]}', 4),
    ],
)
def test_damaged_safetensors_are_rejected(file: Path, content: bytes) -> None:
    file.write_bytes(content)
    with pytest.raises(ModelError):
        tensor_shapes(file)


def test_pickles_are_rejected(tmp_path: Path) -> None:
    (tmp_path / "sub").mkdir()
    for name in ("model.bin", "sub/model.pt", "sub/model.CKPT", "a.pkl", "a.pth", "a.pickle"):
        refuse_pickles(tmp_path)
        (tmp_path / name).write_bytes(b"")
        with pytest.raises(ModelError):
            refuse_pickles(tmp_path)
        (tmp_path / name).unlink()


def test_shards_are_found_through_their_index(file: Path) -> None:
    folder = file.parent
    assert tensor_shapes(file) == {"a": (2, 3), "b": (4,)}
    assert weight_files(folder, "model") == (file,)
    with pytest.raises(ModelError):
        weight_files(folder, "other")
    index = folder / "other.safetensors.index.json"
    index.write_text(json.dumps({"weight_map": {"a": "model.safetensors", "b": "model.safetensors"}}))
    assert weight_files(folder, "other") == (file,)
    for content, fault in (
        ({"weight_map": {"a": "../model.safetensors"}}, "other"),
        ({"weight_map": {}}, "other"),
        ([], "other"),
    ):
        index.write_text(json.dumps(content))
        with pytest.raises(ModelError, match=fault):
            weight_files(folder, "other")


def test_the_fingerprint_depends_on_contents_and_parts(file: Path) -> None:
    first = fingerprint({"vae": [file]})
    assert len(first) == 16
    assert first == fingerprint({"vae": [file]})
    assert first != fingerprint({"transformer": [file]})
    copy = file.with_name("copy.safetensors")
    copy.write_bytes(file.read_bytes())
    assert first == fingerprint({"vae": [copy]})
    other = file.with_name("other.safetensors")
    save_file({"weight": torch.ones(2)}, other)
    orders = [file], [file, copy], [file, other], [other, file]
    assert len({fingerprint({"vae": shards}) for shards in orders}) == 4, "shards and their order matter"
    content = bytearray(file.read_bytes())
    content[-1] ^= 1
    file.write_bytes(content)
    os.utime(file, ns=(1, 1))
    assert first != fingerprint({"vae": [file]})
    with pytest.raises(ModelError):
        fingerprint({"vae": [file.parent]})


def test_a_live_fingerprint_covers_all_of_a_parameter() -> None:
    """It is the same in float32 and in bfloat16."""
    with seeded(0):
        network = torch.nn.Sequential(torch.nn.Linear(64, 10), torch.nn.Linear(10, 3))
    known = live_fingerprint({"unet": network})
    assert known == live_fingerprint({"unet": deepcopy(network).bfloat16()}) != live_fingerprint({"vae": network})
    for row in (0, 5, 9):
        other = deepcopy(network)
        other[0].weight.data[row] += 1
        assert live_fingerprint({"unet": other}) != known
    network[1].bias.data[1] += 1
    assert live_fingerprint({"unet": network}) != known


@pytest.mark.parametrize("lora", [False, True])
def test_clip_has_one_fingerprint_in_every_transformers(lora: bool) -> None:
    """Versions before 5 list its tensors below "text_model."; these fingerprints were computed with 4.57.3 and 5.23."""
    sizes: Any = {"vocab_size": 50, "hidden_size": 16, "intermediate_size": 16, "projection_dim": 16}
    config = CLIPTextConfig(**sizes, num_hidden_layers=2, num_attention_heads=2)
    older = torch.nn.Module()
    with seeded(0):
        encoder = CLIPTextModel(config)
        if lora:
            encoder.add_adapter(LoraConfig(r=2, target_modules=["q_proj"], init_lora_weights=False))
    for name, parameter in encoder.named_parameters():
        own = 1 if "lora_" in name else 1 + len(name.removeprefix("text_model.").replace("base_layer.", ""))
        parameter.data = torch.linspace(-own, own, parameter.numel()).reshape(parameter.shape)
    older.text_model = getattr(encoder, "text_model", encoder)
    found = {live_fingerprint({"text_encoder": network}) for network in (encoder, older)}
    assert found == {"b8b6929fe86c1f6e" if lora else "ab65908ede63fc9c"}


def test_files_of_the_hub_cache_are_identified_by_their_name(
    file: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Only there: elsewhere a folder could claim any fingerprint (L9)."""
    (tmp_path / "hub" / "blobs").mkdir(parents=True)
    digest = "0" * 64
    target = file.rename(tmp_path / "hub" / "blobs" / digest)
    file.symlink_to(target)
    plain = tmp_path / "plain.safetensors"
    plain.write_bytes(target.read_bytes())
    assert fingerprint({"vae": [file]}) == fingerprint({"vae": [plain]})
    monkeypatch.setattr("huggingface_hub.constants.HF_HUB_CACHE", str(tmp_path / "hub"))
    assert fingerprint({"vae": [file]}) != fingerprint({"vae": [plain]})


def test_a_file_is_hashed_once_until_it_changes(file: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "cache"))
    weights, content, hour_ns = {"vae": [file]}, file.read_bytes(), 3_600_000_000_000

    def fingerprint_of(data: bytes, *, hours: int) -> str:
        """The fingerprint in a new process."""
        file.write_bytes(data)
        os.utime(file, ns=(hour_ns, hours * hour_ns))
        weights_module._known_hash.cache_clear()
        return fingerprint(weights)

    first = fingerprint_of(content, hours=1)
    assert first == fingerprint(weights, reread=True)
    other = bytes(len(content))
    assert fingerprint_of(other, hours=1) == first, "it was read again"
    touched = fingerprint_of(other, hours=2)
    assert touched == fingerprint(weights, reread=True) != first
    for kept in (tmp_path / "cache" / "latentedit" / "weights").iterdir():
        kept.write_text("damaged")
    assert fingerprint_of(content, hours=1) == first
    (tmp_path / "blocked").touch()
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "blocked"))
    assert fingerprint_of(content, hours=3) == first
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "cache"))
    file.write_bytes(other)  # so recently that its time stamp may stay the same at the next change
    fingerprint(weights)
    assert len([*(tmp_path / "cache" / "latentedit" / "weights").iterdir()]) == 2


def test_settings_are_changed_key_by_key(tmp_path: Path) -> None:
    """A damaged file is not changed."""
    assert read_settings(tmp_path) == {}
    write_settings(tmp_path, {"a": 1, "b": 2})
    write_settings(tmp_path, {"b": 3})
    assert (tmp_path / "latentedit.json").read_text() == '{\n "a": 1,\n "b": 3\n}\n'
    assert read_settings(tmp_path) == {"a": 1, "b": 3}
    (tmp_path / "config.json").write_text('{"dtype": "float16", "layers": 2}')
    change_json(tmp_path / "config.json", {"dtype": "float32"})
    assert (tmp_path / "config.json").read_text() == '{\n "dtype": "float32",\n "layers": 2\n}\n'
    (tmp_path / "latentedit.json").write_text("{'a': 1}")
    with pytest.raises(ModelError):
        write_settings(tmp_path, {"a": 1})
    assert (tmp_path / "latentedit.json").read_text() == "{'a': 1}"
