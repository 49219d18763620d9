"""Hints on options and commands that do not exist: words of other programs, else names that are alike."""

from collections.abc import Callable, Iterable

from latentedit.core.errors import did_you_mean, listed

# Words of other programs for an option, by the command that has it, and what to type; the first of several rows counts.
_OPTIONS = (
    (
        "--strengths",
        "frames count number min max low high",
        "Use --strengths=LOW:HIGH:COUNT, such as --strengths=0:1:5",
    ),
    ("--strengths", "steps", "Use --strengths=0:1:5 for five strengths, or --set steps=20 for the steps of the method"),
    ("--strength", "intensity amount scale weight alpha opacity", "Use --strength"),
    ("--remove", "negative-prompt negative without", "Use --remove"),
    ("--prompt", "text caption target description", "Use --prompt, --change or --add"),
    ("--instruction", "instruct", "Use --instruction"),
    ("--device", "gpu cuda cpu fp16 half", "Use --device and --dtype"),
    ("--output", "out out-dir output-dir dest save", "Use -o"),
    ("--output", "quality", "There is none: a JPEG is written as finely as the original, and a PNG without loss"),
    ("--output", "overwrite force-overwrite yes", "Leave it out: other files are replaced, the input never"),
    ("--max-outside", "tolerance threshold limit", "Use --max-outside"),
    (
        "--only",
        "threshold tolerance limit sensitivity min-size",
        "There is none: the noise of both images decides; --only keeps the changes that it names, also faint ones",
    ),
    (
        "--save-mask",
        "feather blur softness dilate grow expand padding margin",
        "There is none: the edge is put where both images agree, and fades inside a --mask that cuts a change",
    ),
    ("--panel", "diff difference report html", "Use --panel"),
    ("--view", "diff difference report html preview show", "Use --view"),
    ("--save-layer", "layers layer psd", "Use --save-layer, a .tif for Photoshop"),
    ("--box", "region bbox rect", "Use --box"),
    (
        "--only",
        "no-align align no-register",
        "There is none: images are always aligned, which does nothing if they are",
    ),
    ("--mask", "original input image source before", "Leave out the name: the original is the first argument"),
    ("--mask", "edited after edit", "Leave out the name: the edited image is the second argument"),
    ("--password-file", "share public", "There is no public link: other machines need --host and --password-file"),
    ("--password-file", "password auth", "Use --password-file"),
    ("--retry", "resume continue restart", "Leave it out: the same command continues a stopped run"),
    ("--items", "dataset data", "Leave out the name: the data set is the first argument"),
    ("--items", "limit n num-items subset", "Use --items"),
    ("--items", "metric metrics", "There is none: every metric is computed"),
)
_COMMANDS = {  # words for commands of ours, by what to type
    "Use `latentedit app`": "serve server gui web webui ui demo",
    "Use `latentedit caption`": "describe tag",
    "Use `latentedit check`": "compare diff verify",
    "Use `latentedit undo`": "restore revert",
    "Give a folder: `latentedit edit FOLDER`, or `latentedit keep FOLDER FOLDER`": "batch folder",
    "Use `latentedit keep`": "merge blend composite paste restrict align",
    "Use `latentedit edit`": "run change modify instruct inpaint img2img",
    "Use `latentedit edit IMAGE --direction FILE`": "apply manipulate steer move walk",
    "Use `latentedit direction make`": "identify learn extract",
    "Use `latentedit discover`": "basis local-basis local_basis directions geometry jacobian pca",
    "Use `latentedit path`": "morph geodesic slerp",
    "Use `latentedit replay IMAGE`, which repeats its record; agents have the tool history": "history log record",
    "Use `latentedit models list`, or `latentedit methods`": "list ls show",
    "Use `latentedit edit IMAGE`, which encodes by itself, or latentedit.encode in Python": "encode invert inversion",
    "There is none: images are edited, not made": "generate sample txt2img",
    "Use `latentedit sweep`": "slider interpolate grid",
    "Use `latentedit doctor` for this machine, or `latentedit models`": "info system env status",
    "Use `latentedit models calibrate`": "calibrate",
    "Use `latentedit bench run`": "benchmark",
    "Use `latentedit --version`": "version",
    "See CITATION.cff and docs/citations.bib of the repository": "cite",
    "See CONTRIBUTING.md of the repository; edits need no training": "train",
}


def of_command(name: str, commands: Iterable[str]) -> str:
    """The hint on a command that does not exist."""
    meant = next((use for use, words in _COMMANDS.items() if name.lower() in words.split()), "")
    return meant or f"{did_you_mean(name, commands)} known: {listed(commands)}".strip()


def of_option(option: str, options: Iterable[str], *, is_setting: Callable[[str], bool]) -> str:
    """The hint on an option that does not exist; ``is_setting`` knows what --set takes."""
    options, name = [*options], option.lstrip("-")
    name = {"cfg": "guidance-scale", "cfg-scale": "guidance-scale"}.get(name, name)
    plain = name.replace("_", "-").lower()
    if option.startswith("--"):
        if hints := [hint for needed, words, hint in _OPTIONS if needed in options and plain in words.split()]:
            return hints[0]
        if "--set" in options and is_setting(plain.replace("-", "_")):
            return f"It is a setting of the method: --set {name}=VALUE"
    known = [one for one in options if one.startswith("--")]
    if meant := did_you_mean(plain, [one.lstrip("-") for one in known]):
        return meant.replace(" '", " '--").capitalize()
    return f"There are: {listed(known)}"
