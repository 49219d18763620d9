"""Shared by keep and the library: errors, files, console output, images, colors and pixel geometry."""
