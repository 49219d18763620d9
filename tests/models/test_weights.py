"""Weight files, digests of networks, and the settings file."""

import json
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
from latentedit.models.model_settings import change_json, read_settings, write_settings
from latentedit.models.weights import tensor_shapes, weight_files, weights_digest
from latentedit.numerics.rng import seeded


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


@pytest.mark.parametrize("half", [torch.bfloat16, torch.float16])
def test_a_digest_covers_all_of_a_parameter(half: torch.dtype) -> None:
    """It is the same in float32 and in the half precision that it is made for."""
    with seeded(0):
        network: Any = torch.nn.Sequential(torch.nn.Linear(64, 10), torch.nn.Linear(10, 3))
    known = weights_digest(network, half)
    assert known == weights_digest(deepcopy(network).to(half), half)
    for row in (0, 5, 9):
        other = deepcopy(network)
        other[0].weight.data[row] += 1
        assert weights_digest(other, half) != known
    network[1].bias.data[1] += 1
    assert weights_digest(network, half) != known


@pytest.mark.parametrize("lora", [False, True])
def test_clip_has_one_digest_in_every_transformers(lora: bool) -> None:
    """Versions before 5 list its tensors below "text_model."."""
    sizes: Any = {"vocab_size": 50, "hidden_size": 16, "intermediate_size": 16, "projection_dim": 16}
    config = CLIPTextConfig(**sizes, num_hidden_layers=2, num_attention_heads=2)
    older = torch.nn.Module()
    with seeded(0):
        encoder = CLIPTextModel(config)
        if lora:
            encoder.add_adapter(LoraConfig(r=2, target_modules=["q_proj"], init_lora_weights=False))
    older.text_model = getattr(encoder, "text_model", encoder)
    assert weights_digest(encoder, torch.bfloat16) == weights_digest(older, torch.bfloat16)


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
