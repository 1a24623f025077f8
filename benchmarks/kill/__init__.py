"""hsd's commands, killed again and again and on full disks: `python -m benchmarks.kill`."""
