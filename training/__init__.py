"""Training of the bundled models, from a clone: ``python -m training``; no wheel has it."""
