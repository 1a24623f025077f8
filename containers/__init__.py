"""Inside what it runs: the image and the commands of every container runtime."""
