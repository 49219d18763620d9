"""Linear maps on latents that are given by their products alone, and what is solved with them."""
