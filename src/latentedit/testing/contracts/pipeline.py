"""A live pipeline is unchanged by edits with it. This is a pytest class: subclass it, give it a pipeline."""

from typing import Any

import pytest
import torch
from PIL import Image
from torch import nn

from latentedit.editing.verbs import edit
from latentedit.editors.baselines.flow_paths import FlowEdit
from latentedit.models.pipelines import components_of
from latentedit.models.registry import from_pipeline
from latentedit.numerics.rng import draw

_HOOKS = ("_forward_hooks", "_forward_pre_hooks", "_backward_hooks", "_backward_pre_hooks", "_state_dict_hooks")


def pipeline_state(pipeline: Any) -> dict[str, object]:
    """Everything of a pipeline that belongs to its user, by a name each, as copies that later changes do not reach.

    Weights, their dtype, device, layout in memory and gradients, modes and hooks of every module (not those by which
    transformers reads hidden states), attention processors, and the state of the scheduler.
    """
    parts, state = components_of(pipeline), dict[str, object]()
    for part, network in parts.items():
        if not isinstance(network, nn.Module):
            continue
        for name, tensor in [*network.named_parameters(), *network.named_buffers()]:
            about = (tensor.dtype, tensor.device, tensor.stride(), tensor.requires_grad, tensor.data_ptr())
            state[f"{part}.{name}"] = (
                about,
                tensor.detach().cpu().to(torch.float32).numpy().tobytes(),
                tensor.grad is None,
            )
        for name, module in network.named_modules():
            hooks = [hook for kind in _HOOKS for hook in getattr(module, kind).values()]
            own = [id(hook) for hook in hooks if not str(getattr(hook, "__module__", "")).startswith("transformers")]
            state[f"{part}.{name}: mode, hooks, forward"] = (module.training, own, vars(module).get("forward"))
        processors = getattr(network, "attn_processors", {})
        # PyTorch declares every other attribute of a module as a tensor or module.
        # pyrefly: ignore[missing-attribute]
        state[f"{part}: attention"] = {name: id(one) for name, one in processors.items()}
    state["scheduler"] = {name: str(value) for name, value in vars(parts["scheduler"]).items()}
    return state


class PipelineContract:
    """`from_pipeline` and an edit leave a pipeline as it was, in evaluation and in training mode, with one result.

    A subclass named ``Test...`` gives the fixture `fresh_pipeline`, a pipeline that the tests may change.
    """

    pipeline_settings: dict[str, Any] | None = None
    """Settings of `from_pipeline`."""

    edited_px: tuple[int, int] = (64, 64)
    """Height and width of the image that is edited."""

    @pytest.fixture
    def fresh_pipeline(self) -> Any:
        """The pipeline under test, given by the subclass."""
        raise NotImplementedError("a subclass of PipelineContract gives the fixture `fresh_pipeline`")

    def test_an_edit_leaves_the_pipeline_as_it_was(self, fresh_pipeline: Any) -> None:
        """Weights, dtype, device, layout, hooks, modes, attention and scheduler; without dropout in either mode."""
        networks = [part for part in components_of(fresh_pipeline).values() if isinstance(part, nn.Module)]
        image = Image.fromarray(
            (draw((*self.edited_px, 3), seed=5, purpose="image").sigmoid() * 255).to(torch.uint8).numpy()
        )
        edited: list[bytes] = []
        for training in (False, True):
            for network in networks:
                network.train(training)
                for module in network.modules():
                    if isinstance(module, nn.Dropout):
                        module.p = 0.5
            before = pipeline_state(fresh_pipeline)
            model = from_pipeline(fresh_pipeline, settings=self.pipeline_settings)
            weight = 1.0 if model.capabilities.guidance_kind == "none" else 2.0
            method = FlowEdit(level=0.6, steps=2, source_guidance=1.0, target_guidance=weight)
            edited.append(edit(model, image, source_prompt="a", prompt="b", method=method, force=True).image.tobytes())
            after = pipeline_state(fresh_pipeline)
            assert before.keys() == after.keys()
            assert [name for name in before if before[name] != after[name]] == []
        assert edited[0] == edited[1], "a network in training mode was read with dropout"
        assert edited[0] != image.tobytes()
