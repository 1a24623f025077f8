"""What hsd costs beside the tools that do the same jobs: time, memory, and that answers agree.

`make bench` installs the peers into an environment of their own and runs `python -m benchmarks`,
which goes on where it was stopped, and writes `benchmarks/RESULTS.md`. Linux only: memory is read
from /proc.
"""
