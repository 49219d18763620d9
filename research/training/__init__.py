"""Training of the bundled models: ``python -m research.training`` in a clone; not part of any wheel."""
