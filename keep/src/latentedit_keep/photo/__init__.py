"""What a file of a photograph holds: pixels, colors, metadata, layers; read once, written whole."""
