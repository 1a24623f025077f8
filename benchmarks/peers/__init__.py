"""Plain scripts that do the jobs of `hsd train` and `hsd evaluate` with the usual libraries."""
