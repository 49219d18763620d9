"""What the words of a benchmark's report mean, each in one line, for a reader who has seen nothing else."""

from collections.abc import Mapping

GLOSSARY: Mapping[str, str] = {
    "right answer": "the picture that a perfect edit would give: the same scene, rendered with only the asked change.",
    "codec alone": (
        "no method: the right answer itself through the model's encoder and decoder; no editor of this model can be "
        "expected to do better."
    ),
    "effect": "how much of the wanted change was made: 0 none, 1 all of it, above 1 too much, below 0 the opposite.",
    "leakage": "the length of what changed beside the wanted change, in lengths of the wanted change; 0 is best.",
    "matched error": (
        "leakage squared where the method has made the whole change, at most 1; methods are ranked by it, since it "
        "compares them at the same effect. 0 is the right answer, 1 no edit."
    ),
    "scaled error": "the same for the change at strength 1 alone, made longer or shorter until its effect is 1.",
    "curve area": "mean leakage over all effects from 0 to 1, at most 1 at each; 0 is best.",
    "error at 1": (
        "squared distance to the right answer at strength 1, in that of the picture before; 0 is the right answer, 1 "
        "no edit, above 1 worse than none."
    ),
    "effect at 1": "the effect at strength 1; 1 is best.",
    "reaches it": "share of items in which some strength has the whole effect; elsewhere the curve is made longer.",
    "effectiveness": "1 less the error at 1, from 0 to 1: the share of the way to the right answer; higher is better.",
    "decomposability": (
        "how much of the change made is the wanted one (cosine of the two), from 0 to 1; higher is better, and blind "
        "to how much was changed."
    ),
    "SDE": "semantic disentanglement: harmonic mean of effectiveness and decomposability, 0 to 1; higher is better.",
    "joint gain": "SDE of the edit of picture and text together, less the better of the two edits of one alone.",
    "asked for, done": "share of the asked attributes in which an attribute reader then sees the asked value.",
    "others changed": "number of attributes that were not asked for and in which the reader sees another value.",
    "outside the truth's mask": "share of the squared change outside what the right answer changes; 0 is best.",
    "residual": (
        "how badly the model can denoise the edited picture, in units of the picture before; about 1 is best, above it "
        "the picture is less like those the model knows."
    ),
    "undo, dB": "likeness of the picture to itself after edit and edit back, in decibels (PSNR); higher is better.",
    "linearity": "how well effect is a multiple of strength (R squared of a line through 0); 1 is best.",
    "evaluations": "calls of the network an edit takes, whatever it does between them.",
    "strength": "the number that a user turns: 0 the picture itself, 1 the edit as it is meant, above it more of it.",
    "kind": "what sort of change is asked for, such as of one attribute (single) or of two (pair).",
    "leakage matrix": (
        "how far the attribute of a row moves when that of a column is asked for, by a reader, with the reader's own "
        "confusions taken out; 1 on the diagonal and 0 elsewhere is best."
    ),
    "gap": "of a leakage matrix: lead of the asked attribute over the one that changed most beside it; 1 is best.",
    "DCI disentanglement": "of a leakage matrix: whether asking for one attribute changes one only, 0 to 1.",
    "DCI completeness": "of a leakage matrix: whether each attribute is changed by one request only, 0 to 1.",
    "95 % interval": "in brackets, from 2000 draws of the pictures with replacement (bootstrap).",
    "holds": "the interval of the difference is above 0; below six pictures nothing is decided.",
}
"""Word to its meaning."""
