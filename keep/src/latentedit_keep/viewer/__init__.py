"""A self-contained HTML page that compares images: a slider of strengths, a wipe, the difference."""
