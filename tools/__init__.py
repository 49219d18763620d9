"""Tools of the repository, which no package ships: what writes its pages, pictures and numbers."""
