"""What to type for a name that does not exist: the address of a name that a room exports, else of a similar idea.

The table has words of other programs and of the papers that are not names of ours, whether they are asked for as a
function, a command, an option, an argument or an attribute. It stays at 30 lines: a new line names the one that leaves.
"""

import importlib

LIBRARY = "latentedit"
EXPORTED: dict[str, dict[str, str]] = {}
"""The names that each package exports, with the modules that define them; `latentedit.core.names` fills it."""

# What to type, and the words for it elsewhere.
_WORDS = {
    "`latentedit app`": "gui serve server ui web webui",
    "`latentedit --help`, which lists the commands": (
        "bench env history info list_methods list_models methods status system"
    ),
    "`ssh -L PORT:localhost:PORT HOST`: the page is for its own machine": "host public share",
    "latentedit.keep(original, edited)": "align blend composite merge paste restrict",
    "latentedit.check(original, edited)": "compare diff evaluate verify",
    "latentedit.undo(file)": "restore revert",
    "latentedit.edit(model, image, prompt)": "change img2img inpaint instruct modify run",
    "latentedit.sweep(model, image, prompt, strengths=[0, 0.5, 1])": "at slider strengths",
    "`model`: a name, latentedit.load(name, device=..., dtype=...), or your pipeline": (
        "cpu cuda device dtype enable_model_cpu_offload fp16 from_pretrained gpu half load_model lora pipe pipeline to "
        "torch_dtype"
    ),
    "latentedit.encode(model, image)": "image_latents inversion",
    "latentedit.identify(latent, prompt); latentedit.Direction.load(path) reads a file": (
        "direction extract learn load_direction save_direction train_direction"
    ),
    "latentedit.manipulate(latent, direction), or `direction` of latentedit.edit": "add apply combine move steer walk",
    '`method="eim"` of latentedit.edit, whose search is HSDS': "EIM eim hsds",
    "latentedit.local_basis(latent)": "basis jacobian pullback pullback_metric riemannian",
    "latentedit.discover(latent)": "directions geometry pca",
    "latentedit.transport(direction, latent)": "parallel_transport",
    "latentedit.geometry.paper_guidance(level)": "guidance x_space_guidance",
    "latentedit.geometry.paths_between, or `latentedit path`": "geodesic geodesics interpolate lerp morph slerp",
    "latentedit.geometry.semantic_lengths of a path": "curvedness geodesic_length",
    "`save(path)`: .png is a sheet, .html a slider": "gif grid push_to_hub save_image save_pretrained to_gif",
    "`image`, a Pillow image of the input's size": (
        "convert crop decode height mode numpy output output_type pil resize return_dict show size to_pil width"
    ),
    "`source_prompt`, which `latentedit caption` reads from an image": "caption captions source source_caption",
    "`prompt`; of a result, `target_caption`": "description prompt_2 prompt_embeds target text",
    "`remove`, or nothing: statements of both captions stay": "negative negative_prompt",
    "`references`, for a model that takes instructions": "image_reference ip_adapter_image ip_adapter_image_embeds",
    "`strength`": "amount intensity opacity scale weight",
    "`mask`, an image that is white where it may change": "bbox padding_mask_crop region segment",
    "`seed`, once for each result": "num_images num_images_per_prompt random_state set_seed",
    "`progress`, a function of task, step and number": "callback callback_on_step_end callback_steps",
    "`z`, a tensor at a `level`, in features at a `site`": "data layer n_max shape timestep vector",
}
_ADVICE = {word: advice for advice, words in _WORDS.items() for word in words.split()}


def advice_on(name: str) -> str:
    """What to type for a name that does not exist, with or without hyphens; empty if nothing is known of it."""
    name = name.strip("-").replace("-", "_")
    return address_of(name) or _ADVICE.get(name, "")


def address_of(name: str) -> str:
    """The address of a name that `latentedit` or one of its rooms exports; empty if none does."""
    library = EXPORTED.get(LIBRARY, {})
    if name in library:
        return f"{LIBRARY}.{name}"
    for room, home in library.items():
        if home != LIBRARY:
            continue
        importlib.import_module(f"{LIBRARY}.{room}")
        if name in EXPORTED.get(f"{LIBRARY}.{room}", {}):
            return f"{LIBRARY}.{room}.{name}"
    return ""
