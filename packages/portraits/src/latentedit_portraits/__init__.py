"""The domain of drawn portraits: attributes, renderer, captions, classifier, cropper, and the model."""
