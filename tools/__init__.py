"""Tools of the repository, which no package ships: what writes its pages, images and numbers."""
