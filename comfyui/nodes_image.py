"""Nodes for images: what ComfyUI shows of the functions in images.py.

``edited`` is the first input of each, since a bypassed node passes its first image. New outputs come last, since saved
graphs number them. web/text.js draws the text of a node.
"""

from pathlib import Path
from typing import Any

import folder_paths
import nodes
from comfy_api.latest import io, ui

from . import images
from .schemas import CATEGORY, FRONTEND, progress_bar, schema

_COMPARES = hasattr(io, "ImageCompare") and FRONTEND >= (1, 58, 1)  # older ones fed the wipe of the core's node only
_LAYERS = hasattr(io, "Layers")  # since ComfyUI 0.31
_MASK = "White (1) where the image may change. A mask of another size is resized; 64 x 64 zeros count as no mask."


def _inputs(*more: Any, mask: str = _MASK, optional: bool = True) -> list[Any]:
    return [
        io.Image.Input("edited", tooltip="The editor's output, of any size; one or more."),
        io.Image.Input("original", tooltip="The image before the edit: one for all edits, or one for each."),
        io.Mask.Input("mask", optional=optional, tooltip=mask),
        *more,
    ]


def _feather() -> Any:
    return io.Int.Input("feather", default=0, min=0, max=512, tooltip="Width of an additional soft edge in pixels.")


def _amount() -> Any:
    tooltip = "0 is the original, 1 the full change."
    return io.Float.Input("amount", default=1.0, min=0.0, max=1.0, step=0.01, tooltip=tooltip)


class Keep(io.ComfyNode):
    @classmethod
    def define_schema(cls) -> Any:
        return schema(
            node_id="LatentEdit_Keep",
            display_name="Keep only the change",
            category=CATEGORY,
            description="Puts an editor's change on the original's own pixels; all others stay identical, bit for bit. "
            "Shift, zoom and color cast are undone. Works with every editor, and needs no mask.",
            search_aliases=[
                "diff merge", "composite", "restore original", "restore background", "pixel drift", "pixel shift",
                "color match", "preserve", "unchanged", "kontext", "qwen edit", "paste back",
            ],
            inputs=_inputs(
                _amount(),
                _feather(),
                *([io.ImageCompare.Input("compare", optional=True)] if _COMPARES else []),
                io.String.Input(
                    "box", default="", optional=True, tooltip="Instead of a mask: x,y,width,height in pixels."
                ),
                mask=f"Optional: inside, all that is seen is kept, and nothing outside. {_MASK}",
            ),
            outputs=[
                io.Image.Output("image"),
                io.Mask.Output("change", "change", tooltip="Opacity of the edited image in the result."),
                io.String.Output("report", "report", tooltip="What the editor did, in words."),
                *([io.Layers.Output("layers", "layers", tooltip="For Create Layered Image.")] if _LAYERS else []),
            ],
        )  # fmt: skip

    @classmethod
    def execute(
        cls, edited: Any, original: Any, amount: float, feather: int, mask: Any = None, box: str = "", **_: Any
    ) -> Any:
        edited, original = images.pair(edited, original)
        progress = progress_bar(edited, original)
        made = images.keep_change(edited, original, mask, amount, feather, progress, box)
        shown: dict[str, Any] = {"text": (made.report,)}
        if _COMPARES:  # the names that the frontend's wipe reads
            for name, side in (("a_images", original), ("b_images", made.image)):
                shown[name] = nodes.PreviewImage().save_images(side, "latentedit.compare")["ui"]["images"]
        more = [images.layers(original, made.image)] if _LAYERS else []
        return io.NodeOutput(made.image, made.change, made.report, *more, ui=shown)


class Check(io.ComfyNode):
    @classmethod
    def define_schema(cls) -> Any:
        share = {"min": 0.0, "max": 1.0, "step": 0.001}
        return schema(
            node_id="LatentEdit_Check",
            display_name="Check an edit",
            category=CATEGORY,
            description="Did the edit happen, and what else changed? Compares it with limits, and names the next step.",
            search_aliases=["verify edit", "image diff", "difference", "compare images", "quality gate"],
            inputs=_inputs(
                io.Float.Input(
                    "max_outside", default=0.001, **share,
                    tooltip="With a mask: share of the image that may change outside of it.",
                ),
                io.Float.Input(
                    "max_changed", default=1.0, **share,
                    tooltip="Without a mask: share of the image that may change. 1 also allows a change of all of it.",
                ),
                io.Boolean.Input("expect_size", default=False, tooltip="Fail if the edited image has another size."),
            ),
            outputs=[
                io.Boolean.Output("passed", "passed", tooltip="Whether all images of the batch passed."),
                io.String.Output("report", "report", tooltip="All measurements as JSON, next_step_code among them."),
                io.Image.Output("panel", "panel", tooltip="Original and edited image, with the changes outlined."),
                io.String.Output("verdict", "verdict", tooltip="The outcome and the next step, in words."),
            ],
            is_output_node=True,
        )  # fmt: skip

    @classmethod
    def execute(
        cls, edited: Any, original: Any, max_outside: float, max_changed: float, expect_size: bool, mask: Any = None
    ) -> Any:
        edited, original = images.pair(edited, original)
        progress = progress_bar(edited, original)
        made = images.check_edit(edited, original, mask, max_outside, max_changed, expect_size, progress)
        return io.NodeOutput(made.passed, made.report, made.panel, made.verdict, ui=ui.PreviewText(made.verdict))


class Match(io.ComfyNode):
    @classmethod
    def define_schema(cls) -> Any:
        return schema(
            node_id="LatentEdit_Match",
            display_name="Match frame and color",
            category=CATEGORY,
            description="Undoes an editor's shift, zoom, rotation, resizing and color cast; pixels are the editor's.",
            search_aliases=["align", "register", "pixel shift", "zoom fix", "color match", "color transfer"],
            inputs=[
                *_inputs()[:2],
                io.Boolean.Input("color", default=True, tooltip="Undo the color cast, too. Off: undo the frame only."),
            ],
            outputs=[
                io.Image.Output("image"),
                io.Mask.Output("shown", "shown", tooltip="0 where the edited image shows nothing."),
                io.String.Output("report", "report", tooltip="What was undone, in words."),
            ],
        )  # fmt: skip

    @classmethod
    def execute(cls, edited: Any, original: Any, color: bool) -> Any:
        edited, original = images.pair(edited, original)
        progress = progress_bar(edited, original)
        made = images.match_frame_and_color(edited, original, color, progress)
        return io.NodeOutput(made.image, made.change, made.report, ui=ui.PreviewText(made.report))


class EnforceMask(io.ComfyNode):
    @classmethod
    def define_schema(cls) -> Any:
        return schema(
            node_id="LatentEdit_EnforceMask",
            display_name="Enforce mask",
            category=CATEGORY,
            description="The edited image inside the mask, the original outside, bit for bit. Nothing is aligned.",
            search_aliases=["composite masked", "inpaint stitch", "paste", "outside mask", "unmasked area changed"],
            inputs=_inputs(_feather(), optional=False),
            outputs=[io.Image.Output("image")],
        )

    @classmethod
    def execute(cls, edited: Any, original: Any, mask: Any, feather: int) -> Any:
        return io.NodeOutput(images.enforce_mask(edited, original, mask, feather))


class KeepFiles(io.ComfyNode):
    @classmethod
    def define_schema(cls) -> Any:
        where = "A name in ComfyUI's input folder, a name with [output], or a path."
        return schema(
            node_id="LatentEdit_KeepFiles",
            display_name="Keep, from files",
            category=CATEGORY,
            description="Keep only the change, from file to file: the result has the original's EXIF, color profile "
            "and bit depth, which images in a graph do not have. It is saved in ComfyUI's output folder.",
            search_aliases=["exif", "icc profile", "16 bit", "metadata", "keep only the change"],
            inputs=[
                io.String.Input("edited", tooltip=f"The editor's output. {where}"),
                io.String.Input("original", tooltip=f"The image before the edit. {where}"),
                io.String.Input("mask", default="", tooltip=f"Optional, of the original's size. {where}"),
                _amount(),
                io.String.Input("filename_prefix", default="kept"),
                io.Combo.Input("file_type", options=["png", "tiff", "jpg"], tooltip="jpg changes all pixels a little."),
            ],
            outputs=[io.Image.Output("image"), io.String.Output("path", "path"), io.String.Output("report", "report")],
            is_output_node=True,
        )

    @classmethod
    def fingerprint_inputs(cls, edited: str, original: str, mask: str, **_: Any) -> Any:
        """Run again when a file changes."""
        paths = [Path(folder_paths.get_annotated_filepath(name)) for name in (edited, original, mask) if name]
        return [path.stat().st_mtime_ns if path.is_file() else 0 for path in paths]

    @classmethod
    def execute(cls, edited: str, original: str, mask: str, amount: float, filename_prefix: str, file_type: str) -> Any:
        first, second, third = (
            Path(folder_paths.get_annotated_filepath(name)) if name else None for name in (edited, original, mask)
        )
        if first is None or second is None:
            raise ValueError("edited and original are names of files. Enter both")
        output = folder_paths.get_output_directory()
        folder, name, count, subfolder, _ = folder_paths.get_save_image_path(filename_prefix, output)
        path = Path(folder) / f"{name}_{count:05}_.{file_type}"
        made = images.keep_files(first, second, path, third, amount, progress_bar())
        saved = ui.SavedImages([ui.SavedResult(path.name, subfolder, io.FolderType.output)])
        return io.NodeOutput(made.image, str(path), made.report, ui=saved)


NODES = [Keep, Check, Match, EnforceMask, KeepFiles]
