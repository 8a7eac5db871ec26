"""hazd's own kind cluster: its images, its state, its nodes' power."""
