"""Experiments: claims, each with a plan that is fixed before anything is measured; see `experiment`."""
