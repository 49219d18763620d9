"""Downloads from a hub, which is a local folder here."""

import logging
import shutil
from pathlib import Path
from typing import Any

import huggingface_hub
import pytest
import torch
from PIL import Image
from safetensors.torch import load_file, save_file

import latentedit as le
from latentedit.core.errors import ModelError
from latentedit.models.libraries import quiet_libraries
from latentedit.models.loading import download, download_model, open_folder
from latentedit.models.registry import load
from tests.models.folders import change_json

COMMIT = "0123456789abcdef0123456789abcdef01234567"
UNET = ("unet/config.json", "unet/diffusion_pytorch_model.safetensors")
UNUSED = (  # files of repositories that no model reads
    "README.md",
    "sd3_medium.safetensors",
    "text_encoders/clip_g.safetensors",
    "safety_checker/model.safetensors",
    "transformer/diffusion_pytorch_model.fp16.safetensors",
    "transformer/diffusion_pytorch_model.non_ema.safetensors",
    "transformer/diffusion_pytorch_model.bin",
    "vae/preview.png",
    "vae/diffusion_pytorch_model.fp16.safetensors",
)


@pytest.fixture
def remote(folder_with_t5: Path, tmp_path: Path) -> Path:
    """The repository."""
    folder = shutil.copytree(folder_with_t5, tmp_path / "remote")
    plain = folder / "vae/diffusion_pytorch_model.safetensors"
    shutil.copy(plain, plain.with_suffix(".fp16.safetensors"))
    for name in UNUSED:
        (folder / name).parent.mkdir(exist_ok=True)
        if not (folder / name).exists():
            (folder / name).write_bytes(b"unused")
    (folder / "tokenizer/chat_template.jinja").write_text("{{ messages }}")
    return folder


@pytest.fixture
def requested(remote: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> list[tuple[str, str | None]]:
    """Names and revisions requested from the hub; files go to a cache with the layout of the hub's client."""
    calls: list[tuple[str, str | None]] = []
    cache = tmp_path / "models--org--sd3/snapshots" / COMMIT

    def snapshot(name: str, *, revision: str | None, allow_patterns: list[str], ignore_patterns: list[str]) -> str:
        calls.append((name, revision))
        names = [str(path.relative_to(remote)) for path in remote.rglob("*") if path.is_file()]
        for wanted in huggingface_hub.utils.filter_repo_objects(
            names, allow_patterns=allow_patterns, ignore_patterns=ignore_patterns
        ):
            (cache / wanted).parent.mkdir(parents=True, exist_ok=True)
            shutil.copy(remote / wanted, cache / wanted)
        return str(cache)

    monkeypatch.setattr(huggingface_hub, "snapshot_download", snapshot)
    return calls


def fetched(folder: Path) -> set[str]:
    return {str(path.relative_to(folder)) for path in folder.rglob("*") if path.is_file()}


def test_only_the_files_that_are_read_are_downloaded(remote: Path, requested: list[Any]) -> None:
    """All from the commit of the index; full-precision weights are preferred to half-precision copies."""
    folder = download_model("org/sd3@v1")
    assert fetched(folder) == fetched(remote) - set(UNUSED)
    assert "tokenizer/chat_template.jinja" in fetched(folder)
    assert requested == [("org/sd3", "v1"), ("org/sd3", COMMIT)]


def test_parts_at_the_root_of_a_repository_are_downloaded(
    remote: Path, requested: list[Any], folder_ddpm: Path, ddpm: Any
) -> None:
    """The layout of ``google/ddpm-*``."""
    shutil.rmtree(remote)
    remote.mkdir()
    for file in ("model_index.json", "scheduler/scheduler_config.json", *UNET):
        shutil.copy(folder_ddpm / file, remote)
    assert load("org/ddpm", device="cpu").fingerprint == ddpm.fingerprint
    assert [revision for _, revision in requested] == [None, COMMIT]


@pytest.mark.slow_except("fp16")
@pytest.mark.parametrize("variant", ["fp16", "bf16"])
def test_half_precision_copies_are_used_if_there_is_nothing_else(
    remote: Path, requested: list[Any], variant: str
) -> None:
    """In one file or in shards; other parts keep their full-precision weights."""
    for name in UNUSED:
        (remote / name).unlink()
    whole = remote / "transformer/diffusion_pytorch_model.safetensors"
    tensors = load_file(whole)
    whole.unlink()
    names, files = sorted(tensors), {}
    for number, part in enumerate((names[:9], names[9:]), start=1):
        shard = f"diffusion_pytorch_model-{number:05}-of-00002.{variant}.safetensors"
        save_file({name: tensors[name].half() for name in part}, whole.parent / shard, metadata={"format": "pt"})
        files |= dict.fromkeys(part, shard)
    index = whole.parent / f"diffusion_pytorch_model.safetensors.index.{variant}.json"
    index.write_text("{}")
    change_json(index, weight_map=files, metadata={})
    vae = remote / "vae/diffusion_pytorch_model.safetensors"
    vae.rename(vae.with_suffix(f".{variant}.safetensors"))
    backbone: Any = load("org/sd3", device="cpu")
    assert (backbone._network.state_dict()[names[0]] - tensors[names[0]]).abs().max() <= 1e-3
    folder = download_model("org/sd3")
    assert {variant in name for name in fetched(folder)} == {True, False}
    assert open_folder(folder).shapes["transformer"].keys() == tensors.keys()
    assert {name for name, _ in requested} == {"org/sd3"}


@pytest.mark.nightly
def test_the_record_holds_the_commit(requested: list[Any], tmp_path: Path) -> None:
    """The name is the requested one; a folder has no commit."""
    model = load("org/sd3@v1", device="cpu")
    assert (model.name, model.revision) == ("org/sd3@v1", COMMIT)
    side = model.capabilities.sizes[0]
    result = le.edit(model, Image.new("RGB", (side, side)), source_prompt="a", prompt="b", method="sdedit")
    assert result.record.model.revision == COMMIT
    copied = shutil.copytree(download_model("org/sd3"), tmp_path / "copied")
    assert load(copied, device="cpu").revision is None


def test_unsupported_models_are_rejected_before_weights_are_downloaded(remote: Path, requested: list[Any]) -> None:
    change_json(remote / "model_index.json", transformer=["diffusers", "WanTransformer3DModel"])
    with pytest.raises(ModelError):
        load("org/sd3")
    assert len(requested) == 1


@pytest.mark.parametrize(
    "error",
    [
        huggingface_hub.errors.LocalEntryNotFoundError("offline\nlong text"),
        huggingface_hub.errors.HFValidationError("bad"),
        ConnectionError("no route"),
    ],
)
def test_failed_downloads_raise_one_line_errors(error: Exception, monkeypatch: pytest.MonkeyPatch) -> None:
    def fail(*_: Any, **__: Any) -> str:
        raise error

    monkeypatch.setattr(huggingface_hub, "snapshot_download", fail)
    for attempt in (lambda: download("org/sd3", allow_patterns=["*"]), lambda: download_model("org/sd3")):
        with pytest.raises(ModelError) as caught:
            attempt()
        assert "\n" not in str(caught.value)


def test_libraries_are_quiet_until_the_last_thread_leaves() -> None:
    """Even if the first thread leaves first; the random state is restored."""
    logger, state = logging.getLogger("diffusers"), torch.random.get_rng_state()
    before, first, second = logger.level, quiet_libraries(), quiet_libraries()
    first.__enter__()
    second.__enter__()
    torch.randn(3)
    first.__exit__(None, None, None)
    assert logger.level == logging.ERROR
    second.__exit__(None, None, None)
    assert logger.level == before
    assert torch.equal(torch.random.get_rng_state(), state)
