"""Geometry of latent spaces: subspaces, means, curves, local bases, PCA of features, transport and paths."""
