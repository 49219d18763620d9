"""What the library and its products share: errors, files, the console, images, color, geometry of pixels."""
