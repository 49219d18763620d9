"""The default model, trained on drawn portraits: weights, attributes, captions, classifier and cropper."""
