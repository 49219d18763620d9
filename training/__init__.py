"""Training of the bundled models: ``python -m training`` in a clone; not part of any wheel."""
