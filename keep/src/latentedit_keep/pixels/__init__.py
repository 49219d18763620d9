"""The pyramid of pixels: registration, tones, what changed, and what is put together from it."""
