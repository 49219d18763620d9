"""Subspaces of latents and how they lie to one another."""
