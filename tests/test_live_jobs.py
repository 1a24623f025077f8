"""What is in the queue is never submitted twice and can be cancelled, whatever squeue shows."""

from typing import Any

import pytest
from fake_cluster import Fake
from fake_slurm import store
from hsd_program import Hsd
from sweep_bench import ON

from jobs.cancel import cancel
from jobs.run import run

pytestmark = pytest.mark.usefixtures("sweep_bench")


def each(fake: Fake, **facts: Any) -> None:
    """Change every element in the queue."""
    assert fake.jobs()
    with store.changed() as queue:
        for job in queue["jobs"]:
            for element in job["elements"]:
                element.update(facts)


def ended(fake: Fake) -> set[str]:
    """Return the states that elements of the queue have."""
    return {element["state"] for job in fake.jobs() for element in job["elements"]}


@pytest.mark.parametrize("state", ["SUSPENDED", "A_STATE_OF_2030"])
def test_a_job_in_a_state_that_is_not_over_is_not_submitted_again_but_cancelled(
    hsd: Hsd, fake: Fake, state: str
) -> None:
    hsd(run, *ON)
    before = len(fake.jobs())
    each(fake, held=True)
    fake.fault(squeue={"state": state})
    code, out, err = hsd(run, *ON)
    assert code == 0, err
    assert "in the queue: a, b" in out
    assert len(fake.jobs()) == before
    code, _, err = hsd(cancel, "runs/pair")
    assert code == 0, err
    assert ended(fake) == {"CANCELLED"}


def test_where_squeue_s_table_cannot_be_read_nothing_is_submitted_or_cancelled(
    hsd: Hsd, fake: Fake
) -> None:
    hsd(run, *ON)
    before = len(fake.jobs())
    each(fake, held=True)
    squeue = fake.bin / "squeue"
    whole = squeue.rename(fake.bin / "squeue.whole")
    # A site's squeue that leaves out a column of the long table.
    squeue.write_text(
        f"""#!/bin/sh
case "$*" in
  *%E*) {whole} "$@" | sed 's/|[^|]*$//';;
  *) exec {whole} "$@";;
esac
"""
    )
    squeue.chmod(0o755)
    for command, words in ((run, ON), (cancel, ("runs/pair",))):
        code, _, err = hsd(command, *words)
        assert code == 3
        assert "squeue printed no line of the form that hsd asks for" in err
    assert len(fake.jobs()) == before
    assert ended(fake) == {"PENDING"}
