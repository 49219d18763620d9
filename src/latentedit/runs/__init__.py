"""Work that survives: folders of finished units, several runners at once, and machines that go away."""
