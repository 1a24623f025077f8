"""Whether a run's cells were compared as they stand now."""

from hsd.errors import PreflightError
from hsd.io.json_reader import read_object
from slurm.run import submissions
from slurm.run.run_folder import ALL, RunFolder


def is_compared(run: RunFolder) -> bool:
    """Return whether the comparison of the newest submission that has one is done.

    That of an earlier submission is of fewer cells. Its marker stays when the newer one fails; a
    comparison's identity ends in the number of its submission.
    """
    marker = run.done(ALL, "compare")
    if not marker.exists():
        return False
    made = submissions.read_submissions(run.path)
    numbers = [one.number for one in made if one.kind == "compare"]
    try:
        identity = str(read_object(marker).get("identity", ""))
    except PreflightError:  # cut off, or another's file
        return False
    return not numbers or identity.endswith(f"-{max(numbers)}")
