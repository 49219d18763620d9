"""Tools for agents, over the Model Context Protocol: check, keep, undo, history, edit and sweep."""
