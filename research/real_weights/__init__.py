"""Real text-to-image weights in about 15 minutes: `python -m research.real_weights MODEL_FOLDER`."""
