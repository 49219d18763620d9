"""Panels of a command's help; what is changed and how far is in typer's panel "Options", the first one."""

METHOD, MODEL, MANY, OUTPUT = "Method", "Model", "Many images", "Output"
SEE_MODEL = "A name, folder or hub id; see `latentedit help model`."
