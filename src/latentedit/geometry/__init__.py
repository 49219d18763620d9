"""Geometry of latent spaces: subspaces, means, curves, local bases, transport and paths."""
