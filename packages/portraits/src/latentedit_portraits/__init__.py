"""The world of drawn portraits: attributes, renderer, captions, reader, cropper, training recipes, and the model."""
