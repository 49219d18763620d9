"""What every program of ours stands on: errors, files, console output, workers, plugins, the program."""
