"""What sbatch sees of the caller, and what a job's script exports."""

import subprocess
from pathlib import Path
from typing import Any

import pytest
from strangers import given_away

from hsd.errors import PreflightError
from slurm.cluster.environment import exports, scrubbed
from slurm.cluster.profile import Profile

RUN, CODE = Path("/shared/my run"), Path("/shared/my run/code/abc")


def profile(**settings: Any) -> Profile:
    return Profile.model_validate(settings)


@pytest.mark.parametrize(
    ("name", "passes"),
    [
        ("HF_TOKEN", False),
        ("hf_token", False),
        ("WANDB_API_KEY", False),
        ("OPENAI_APIKEY", False),
        ("AWS_SECRET_ACCESS_KEY", False),
        ("DB_PASSWD", False),
        ("WANDB_KEY", False),
        ("SSHPASS", False),
        ("MYSQL_PWD", False),
        ("GH_PAT", False),
        ("PWD", True),
        ("GIT_CREDENTIALS", False),
        ("HF_TOKEN_PATH", True),
        ("PASSWORD_FILE", True),
        ("TOKENIZERS_PARALLELISM", True),
        ("SLURM_CONF", True),
        ("SLURM_CPU_BIND", False),
        ("SBATCH_PARTITION", False),
        ("SRUN_DEBUG", False),
        ("SQUEUE_STATES", False),
        ("SUBMITIT_EXECUTOR", False),
        ("PATH", True),
        ("HF_HOME", True),
    ],
)
def test_a_variable_passes_by_its_name(name: str, passes: bool) -> None:
    assert (name in scrubbed({name: "x"})) == passes


def test_what_is_kept_passes_unless_it_looks_secret() -> None:
    given = {"SLURM_HINT": "x", "MY_SECRET": "x"}
    assert scrubbed(given, keep=("SLURM_HINT", "MY_SECRET")) == {"SLURM_HINT": "x"}


def values(lines: list[str], tmp_path: Path, show: str) -> str:
    """Run a job's first lines in bash and return what `show` prints behind them."""
    script = tmp_path / "script.sh"
    script.write_text("\n".join([*lines, show]))
    done = subprocess.run(
        ["bash", str(script)],
        env={"PATH": "/usr/bin:/bin", "SLURM_JOB_ID": "7", "LOCAL": str(tmp_path / "a b")},
        capture_output=True,
        text=True,
        check=True,
    )
    return done.stdout.split("===\n", 1)[1]


def test_a_job_sees_what_the_profile_says_whatever_signs_it_holds(tmp_path: Path) -> None:
    lines = exports(
        profile(
            node_local=str(tmp_path),
            env={"set": {"GREETING": "it's $HOME `date`"}},
            secrets={"HF_TOKEN_PATH": "~/token"},
        ),
        RUN,
        CODE,
    )
    show = 'printf "%s\\n" "$GREETING" "$HF_TOKEN_PATH" "$PYTHONPATH" "$HF_HUB_OFFLINE" "$(umask)"'
    assert values(lines, tmp_path, show).splitlines() == [
        "it's $HOME `date`",
        str(Path.home() / "token"),
        str(CODE),
        "1",
        "0077",
    ]


def test_a_node_with_internet_is_not_offline() -> None:
    assert not any("OFFLINE" in line for line in exports(profile(compute_internet=True), RUN, CODE))


def test_caches_are_in_a_folder_of_the_job_that_is_gone_at_its_end(tmp_path: Path) -> None:
    lines = exports(profile(node_local="$LOCAL/"), RUN, CODE)
    folder = tmp_path / "a b" / "hsd-7"
    show = 'ls "$HSD_SCRATCH"; echo "$TRITON_CACHE_DIR"; echo "$TMPDIR"; touch "$TMPDIR/file"'
    shown = values(lines, tmp_path, show).splitlines()
    assert shown == [
        *("datasets", "inductor", "tmp", "triton"),
        *(str(folder / "triton"), str(folder / "tmp")),
    ]
    assert folder.parent.is_dir()
    assert not folder.exists()


def in_a_job(lines: list[str], show: str = "true") -> subprocess.CompletedProcess[str]:
    """Run a job's first lines as job 7, and `show` behind them."""
    return subprocess.run(
        ["bash", "-c", "\n".join([*lines, show])],
        env={"PATH": "/usr/bin:/bin", "SLURM_JOB_ID": "7"},
        capture_output=True,
        text=True,
        check=False,
    )


def test_a_job_s_caches_are_for_its_user_alone(tmp_path: Path) -> None:
    lines = exports(profile(node_local=str(tmp_path)), RUN, CODE)
    done = in_a_job(["umask 000", *lines[1:]], 'stat -c %a "$HSD_SCRATCH"')  # whatever the umask
    assert done.stdout.splitlines()[-1] == "700"


@pytest.mark.parametrize("form", ["foreign", "link", "file"])
def test_scratch_that_somebody_else_has_made_first_is_refused(tmp_path: Path, form: str) -> None:
    scratch, elsewhere = tmp_path / "hsd-7", tmp_path / "elsewhere"
    elsewhere.mkdir()
    if form == "foreign":
        (scratch / "inductor").mkdir(parents=True)
        scratch.chmod(0o777)
        given_away(scratch)
    elif form == "link":  # even to a folder of ours: whose link it is can change where it leads
        scratch.symlink_to(elsewhere)
    else:
        scratch.write_text("")
    done = in_a_job(exports(profile(node_local=str(tmp_path)), RUN, CODE), "echo went on")
    assert (done.returncode, "went on" in done.stdout) == (3, False)
    assert "or is somebody else's; set node_local in the profile" in done.stderr
    assert not list(elsewhere.iterdir())


def test_a_job_that_was_killed_on_this_node_takes_its_own_scratch_again(tmp_path: Path) -> None:
    (tmp_path / "hsd-7" / "triton").mkdir(parents=True)
    (tmp_path / "hsd-7").chmod(0o755)
    lines = exports(profile(node_local=str(tmp_path)), RUN, CODE)
    done = in_a_job(lines, 'stat -c %a "$HSD_SCRATCH"')
    assert (done.returncode, done.stdout.splitlines()[-1]) == (0, "700")
    assert not (tmp_path / "hsd-7").exists()


def test_a_command_in_node_local_is_text(tmp_path: Path) -> None:
    lines = exports(profile(node_local=f'{tmp_path}/$(touch x)"`touch x`'), RUN, CODE)
    assert values(lines, tmp_path, 'echo "$HSD_SCRATCH"') == (
        f'{tmp_path}/$(touch x)"`touch x`/hsd-7\n'
    )
    assert not Path("x").exists()


def test_a_node_without_the_folder_says_so_and_ends(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("")
    lines = exports(profile(node_local=str(tmp_path / "file")), RUN, CODE)
    script = tmp_path / "script.sh"
    script.write_text("\n".join([*lines, "echo went on"]))
    done = subprocess.run(["bash", str(script)], capture_output=True, text=True, check=False)
    assert done.returncode == 3
    assert "Error: " in done.stderr
    assert "set node_local in the profile" in done.stderr
    assert "went on" not in done.stdout


def test_a_signal_to_the_script_does_not_end_it_before_what_it_started(tmp_path: Path) -> None:
    lines = exports(profile(node_local=str(tmp_path)), RUN, CODE)
    show = "(kill -TERM $$; kill -USR2 $$); sh -c 'sleep 0.3; exit 75'; echo $?; ls \"$TMPDIR\"/.."
    assert values(lines, tmp_path, show).splitlines()[0] == "75"


def test_both_logs_say_where_an_attempt_begins(tmp_path: Path) -> None:
    script = tmp_path / "script.sh"
    script.write_text("\n".join(exports(profile(node_local=str(tmp_path)), RUN, CODE)))
    environ = {"PATH": "/usr/bin:/bin", "SLURM_JOB_ID": "7", "SLURM_RESTART_COUNT": "2"}
    done = subprocess.run(["bash", str(script)], env=environ, capture_output=True, text=True)
    assert done.stdout.startswith("=== hsd: attempt 3 on ")
    assert done.stderr == done.stdout


def test_setup_lines_come_last_as_they_are() -> None:
    assert exports(profile(setup=["module load cuda", "x=1"]), RUN, CODE)[-2:] == [
        "module load cuda",
        "x=1",
    ]


def test_a_secret_in_the_profile_is_refused_and_told_where_it_belongs() -> None:
    with pytest.raises(PreflightError, match=r"\[env.set\] HF_TOKEN: .*\[secrets\] HF_TOKEN_PATH"):
        exports(profile(env={"set": {"HF_TOKEN": "abc"}}), RUN, CODE)


def test_a_name_that_is_no_name_is_refused() -> None:
    with pytest.raises(PreflightError, match="'A;B' is no name of a variable"):
        exports(profile(env={"set": {"A;B": "x"}}), RUN, CODE)
