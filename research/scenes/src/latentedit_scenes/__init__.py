"""The domain of rendered scenes: attributes, path tracer, captions, changes and their masks."""
