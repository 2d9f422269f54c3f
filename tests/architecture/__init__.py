"""What must hold for the repository as a whole: its pages, its shape, its deployments."""
