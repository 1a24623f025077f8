"""SLURM's programs for tests without a SLURM: they keep a queue in $FAKE_SLURM and run the jobs.

One module per program. Their words, exit codes and columns are those of Slurm 22.05, as
tests/slurm_testbed shows them. Standard library only: they start in 30 ms. `fake_cluster.py` puts
them on PATH. Everything a test may spoil is in `faults.py`.
"""
