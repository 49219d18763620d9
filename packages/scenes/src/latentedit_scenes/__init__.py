"""The world of rendered scenes: attributes, path tracer, captions, changes and their true masks."""
