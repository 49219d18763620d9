"""Live stock pipelines of every family with random weights, a few hundred kilobytes each, made without a download."""
