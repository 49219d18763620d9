"""Directions: found from text, composed, transferred to other images, saved in files."""
