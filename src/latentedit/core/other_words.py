"""What to type for a name that does not exist: the address of an exported name, else our name for the same thing.

The table maps names of other libraries and of the papers to ours, whether they are asked for as a function, a command,
an option, an argument or an attribute. It stays at 30 entries: to add one, remove one.
"""

import importlib

LIBRARY = "latentedit"
EXPORTED: dict[str, dict[str, str]] = {}
"""Package to its exported names, with the modules that define them; `latentedit.core.names` fills it."""

# What to type, and the names for it elsewhere.
_NAMES_ELSEWHERE = {
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
_ADVICE = {name: advice for advice, names in _NAMES_ELSEWHERE.items() for name in names.split()}


def advice_on(name: str) -> str:
    """Return what to type for a name that does not exist; an empty string if nothing is known of it.

    Hyphens may stand in front, as of an option, and in place of underscores.
    """
    name = name.strip("-").replace("-", "_")
    return address_of(name) or _ADVICE.get(name, "")


def address_of(name: str) -> str:
    """Return the address under which `latentedit` or a subpackage exports a name; an empty string if none does."""
    module_of = EXPORTED.get(LIBRARY, {})
    if name in module_of:
        return f"{LIBRARY}.{name}"
    subpackages = [f"{LIBRARY}.{exported}" for exported, module in module_of.items() if module == LIBRARY]
    for package in subpackages:
        # The import fills `EXPORTED`.
        importlib.import_module(package)
        if name in EXPORTED.get(package, {}):
            return f"{package}.{name}"
    return ""
