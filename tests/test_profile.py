"""Profiles of clusters: the shipped ones, your own, what is refused, what is resolved."""

import json
import tomllib
from pathlib import Path

import pytest
import schemas
from hypothesis import given
from hypothesis import strategies as st

import slurm
from hsd.errors import ConfigError, PreflightError
from slurm.cluster.profile import (
    Profile,
    default_profile,
    load_profile,
    profile_names,
    profile_schema,
    user_folder,
)
from slurm.cluster.stage_config import StageConfig

NAMES = ("a100x1", "a100x4", "local", "testbed")
SHIPPED = Path(slurm.__path__[0]) / "profiles"


def write(name: str, text: str) -> str:
    file = Path(name).expanduser()
    file.parent.mkdir(parents=True, exist_ok=True)
    file.write_text(text, encoding="utf-8")
    return name


def refusal(text: str) -> str:
    with pytest.raises(PreflightError) as caught:
        load_profile(write("mine.toml", text))
    assert caught.value.exit_code == 3
    assert "\n" not in str(caught.value)
    return str(caught.value)


@pytest.mark.parametrize(
    "text",
    [
        "[stages.train]\ngpus = 4\n[slurm.extra]\ngres = 'lscratch:9'",
        "[stages.train]\ngpus = 4\n[slurm]\ngpu_request = 'gres'\nextra = {nice = '5'}",
        "[slurm.extra]\ngres = 'gpu:1'",
    ],
)
def test_further_options_that_ask_for_no_gpus_twice_are_taken(text: str) -> None:
    assert load_profile(write("mine.toml", text)).slurm is not None


# Shipped ones


def test_four_profiles_are_shipped() -> None:
    assert tuple(profile_names()) == NAMES


@pytest.mark.parametrize("name", NAMES)
def test_a_shipped_profile_loads_and_says_what_it_is_for(name: str) -> None:
    profile = load_profile(name)
    assert profile.description
    assert profile.local == (name == "local")
    assert profile.stages.compare.gpus == 0


@pytest.mark.parametrize("name", NAMES)
def test_a_profile_reloads_from_its_dump_to_an_equal_one(name: str) -> None:
    profile = load_profile(name)
    dump = json.loads(json.dumps(profile.model_dump(mode="json")))
    assert Profile.model_validate(dump) == profile


@pytest.mark.parametrize("name", NAMES)
def test_the_schema_accepts_a_shipped_profile_and_no_unknown_key(name: str) -> None:
    tree = tomllib.loads((SHIPPED / f"{name}.toml").read_text())
    assert schemas.refused(profile_schema(), tree) == ""
    assert "unknown" in schemas.refused(profile_schema(), tree | {"shared_rot": "x"})
    stages = {**tree.get("stages", {}), "train": {"gpsu": 1}}
    assert "unknown" in schemas.refused(profile_schema(), tree | {"stages": stages})


@pytest.mark.parametrize("name", NAMES)
def test_an_unknown_key_in_a_shipped_profile_is_refused(name: str) -> None:
    text = "shared_rot = 1\n" + (SHIPPED / f"{name}.toml").read_text()
    assert "unknown key 'shared_rot'. Did you mean 'shared_root'?" in refusal(text)


def test_the_reference_has_four_gpus_and_merges_where_a_20b_base_fits_in_float32() -> None:
    stages = load_profile("a100x4").stages
    assert (stages.train.gpus, stages.train.cpus, stages.train.memory_gb) == (4, 32, 240)
    assert stages.train.time_min == 24 * 60
    assert (stages.merge.gpus, stages.merge.memory_gb) == (0, 120)
    assert stages.compare.time_min == 10


def test_the_testbed_fits_its_own_nodes() -> None:
    stages: dict[str, StageConfig] = dict(load_profile("testbed").stages)
    assert len(stages) == 4
    for stage in stages.values():
        assert stage.gpus <= 4
        assert stage.cpus <= 16
        assert stage.memory_gb * 1024 <= 64000


# Which


def test_your_own_profile_is_found_by_name_before_a_shipped_one() -> None:
    write("~/.config/hsd/clusters/mine.toml", 'description = "m"\n')
    write("~/.config/hsd/clusters/a100x4.toml", 'description = "my own"\n')
    assert profile_names() == sorted([*NAMES, "mine"])
    assert load_profile("mine").description == "m"
    assert load_profile("a100x4").description == "my own"


def test_an_unknown_profile_is_answered_with_the_nearest() -> None:
    with pytest.raises(ConfigError) as caught:
        load_profile("a100x5")
    assert str(caught.value) == (
        "unknown profile 'a100x5'. Did you mean 'a100x4'? "
        "Known: a100x1, a100x4, local, testbed. A file's path works."
    )


def test_a_missing_file_is_answered_with_the_nearest() -> None:
    write("mine.toml", "")
    with pytest.raises(ConfigError, match=r"^mien.toml: no such file. Did you mean 'mine.toml'"):
        load_profile("mien.toml")


def test_the_default_is_the_variable_then_your_file_then_a_line_that_says_what_would_work() -> None:
    with pytest.raises(PreflightError) as caught:
        default_profile({})
    for word in ("--cluster NAME", "HSD_CLUSTER", *NAMES, "hsd cluster init", "--local"):
        assert word in str(caught.value)
    own = user_folder() / "cluster.toml"
    write(str(own), "")
    assert default_profile({}) == str(own)
    assert default_profile({"HSD_CLUSTER": "testbed"}) == "testbed"
    assert default_profile({"HSD_CLUSTER": ""}) == str(own)


# What is refused


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("node_locl = 1", "unknown key 'node_locl'. Did you mean 'node_local'? Known: "),
        ("[slurm]\nacount = 'x'", "slurm: unknown key 'acount'. Did you mean 'account'? Known: "),
        ("[stages.trian]", "stages: unknown key 'trian'. Did you mean 'train'? Known: "),
        ("[stages.train]\ngpsu = 1", "stages.train: unknown key 'gpsu'. Did you mean 'gpus'?"),
        ("[stages.compare]\nmemory = 1", "stages.compare: unknown key 'memory'. Did you mean "),
        ("[container]\nimag = 'x'", "container: unknown key 'imag'. Did you mean 'image'? Known: "),
        ("[env]\npsas = []", "env: unknown key 'psas'. Did you mean 'pass'? Known: pass, set."),
    ],
)
def test_an_unknown_key_in_a_section_is_answered_with_the_nearest(text: str, message: str) -> None:
    assert refusal(text).startswith(f"mine.toml: {message}")


@pytest.mark.parametrize(
    ("text", "message"),
    [
        (
            "[stages.train]\ngpus = '4'",
            'stages.train.gpus: "4" is not accepted (expected a whole number of at least 0).',
        ),
        ("[stages.train]\ncpus = 0", "stages.train.cpus: 0 is not accepted (expected a whole"),
        ("[stages.train]\nmemory_gb = 0", "stages.train.memory_gb: 0 is not accepted (expected a"),
        ("setup = 'x'", 'setup: "x" is not accepted (expected a list of texts).'),
        (
            "[slurm]\ngpu_request = 'gpus'",
            "slurm.gpu_request: \"gpus\" is not accepted (expected one of 'gpus-per-node', 'gres')",
        ),
        ("[slurm]\naccount = ''", 'slurm.account: "" is not accepted (expected a non-empty text'),
        (
            "[slurm.extra]\nnice = 5",
            "slurm.extra.nice: 5 is not accepted (expected a text, in quotes).",
        ),
        (
            '[slurm.extra]\n"evil\\ntouch x\\n#" = "1"',
            "slurm.extra: 'evil\\ntouch x\\n#' is no option of sbatch",
        ),
        ("[slurm.extra]\n' x' = '1'", "slurm.extra: ' x' is no option of sbatch"),
        ("[slurm.extra]\noutput = '/x'", "slurm.extra.output: output cannot be set here: logs"),
        ("[slurm.extra]\njob_name = 'x'", "slurm.extra.job_name: job-name cannot be set here"),
        ("[slurm.extra]\nwra = 'x'", "slurm.extra.wra: wrap cannot be set here: the script"),
        ("[slurm.extra]\nerr = 'x'", "slurm.extra.err: error cannot be set here"),
        (
            "[stages.train]\ngpus = 4\n[slurm.extra]\ngres = 'lscratch:9,gpu:a100:4'",
            "slurm.extra.gres: GPUs are requested by --gpus-per-node already ([slurm] gpu_request)",
        ),
        (
            "[stages.train]\ngpus = 4\n[slurm]\ngpu_request = 'gres'\n"
            "extra = {gpus_per_node = '4'}",
            "slurm.extra.gpus_per_node: GPUs are requested by --gres already",
        ),
        (
            "[slurm.extra]\nclusters = 'a,b'",
            "slurm.extra.clusters: 'a,b' is not accepted (expected the name of one cluster)",
        ),
        (
            "[env]\nset = 5",
            "env.set: 5 is not accepted (expected a section of names and texts).",
        ),
        (
            "[secrets.hub]\nfile = 'x'",
            "secrets.hub.file: *** is not accepted (expected a section of names and texts).",
        ),
        ("env = 5", "env: 5 is not accepted (expected a section with pass, set)."),
        (
            'setup = ["a\\nb"]',
            'setup: ["a\\nb"] is not accepted (expected one line, without control characters).',
        ),
        ('[env.set]\nA = "a\\nb"', 'env.set.A: "a\\nb" is not accepted (expected one line'),
        (
            "[slurm]\n[stages.train]\ntime_min = 3",
            "stages.train.time_min: 3 minutes are over before slurm.signal_seconds (180) is;",
        ),
        (
            "[stages.merge]\nnodes = 2",
            "stages.merge.nodes: merge works on one node; only train and evaluate take more",
        ),
        ("[container]\nruntime = 'docker'", "container: runtime = 'docker' without an image; "),
        ("[slurm\n", "1: not TOML"),
    ],
)
def test_a_wrong_value_is_named_with_what_was_expected(text: str, message: str) -> None:
    assert refusal(text).startswith(("mine.toml: " + message, "mine.toml:" + message))


def test_what_hsd_does_not_decide_may_be_asked_of_sbatch() -> None:
    text = '[slurm.extra]\n"mail-type" = "END"\nclusters = "beta"\nlicenses = "x:1"\nnice = "9"'
    slurm = load_profile(write("mine.toml", text)).slurm
    assert slurm is not None
    assert (slurm.extra["licenses"], slurm.cluster) == ("x:1", "beta")


def test_all_that_is_wrong_is_said_at_once() -> None:
    said = refusal("node_locl = 1\n[stages.train]\ngpus = -1\n")
    assert said.count("mine.toml: ") == 2
    assert "unknown key 'node_locl'" in said
    assert "stages.train.gpus: -1 is not accepted" in said


@pytest.mark.parametrize("where", ["[env.set]\nHUB = ", "[slurm.extra]\ncomment = ", "python = "])
def test_a_token_in_a_profile_is_refused_and_not_shown(where: str) -> None:
    said = refusal(f'{where}"hf_abcdefghijklmnopqrst"')
    assert "looks like a secret; write it to a file with mode 0600" in said
    assert "abcdefgh" not in said


def test_the_value_of_a_secret_variable_is_refused(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("SITE_SECRET", "open-sesame")
    said = refusal('[env.set]\nA = "${SITE_SECRET}"')
    assert "env.set.A: looks like a secret" in said
    assert "sesame" not in said


def test_the_path_of_a_token_is_no_secret(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("HF_TOKEN_PATH", "/home/me/token")
    write("mine.toml", '[secrets]\nHF_TOKEN_PATH = "~/token"\n[env.set]\nA = "/home/me/token"\n')
    assert load_profile("mine.toml").secrets == {"HF_TOKEN_PATH": Path.home() / "token"}


# What is resolved


def test_a_path_is_absolute_and_variables_and_tilde_are_resolved(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setenv("SCRATCH", "/scratch/me")
    monkeypatch.setenv("GPUS", "2")
    write(
        "mine.toml",
        'shared_root = "${SCRATCH}/runs"\npython = "~/venv/bin/python"\n'
        '[slurm]\naccount = "${PROJECT:-none}"\n[stages.train]\ngpus = "${GPUS}"\n',
    )
    profile = load_profile("mine.toml")
    assert profile.shared_root == Path("/scratch/me/runs")
    assert profile.python == str(Path.home() / "venv/bin/python")
    assert profile.slurm is not None
    assert profile.slurm.account == "none"
    assert profile.stages.train.gpus == 2
    assert load_profile("local").shared_root == Path.cwd() / "runs"
    assert load_profile(write("b.toml", "python = 'python3'")).python == "python3"


def test_an_unset_variable_is_named_with_file_and_key() -> None:
    assert refusal("shared_root = '${NOT_SET}'").startswith(
        "mine.toml: shared_root: environment variable NOT_SET is not set; "
    )


def test_what_the_shell_of_a_job_reads_is_left_to_the_node(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("TMPDIR", "/of/the/login/node")
    write("mine.toml", 'node_local = "${TMPDIR}/x"\nsetup = ["export A=${TMPDIR}"]\n')
    profile = load_profile("mine.toml")
    assert (profile.node_local, profile.setup) == ("${TMPDIR}/x", ("export A=${TMPDIR}",))


def test_what_is_passed_is_read_under_a_word_of_python() -> None:
    write("mine.toml", '[env]\npass = ["SLURM_CLUSTERS"]\n')
    env = load_profile("mine.toml").env
    assert env.passed == ("SLURM_CLUSTERS",)
    assert env.model_dump() == {"set": {}, "pass": ("SLURM_CLUSTERS",)}


@given(gpus=st.integers(0, 64), processes=st.none() | st.integers(1, 64))
def test_a_stage_has_a_rank_per_gpu_unless_told_and_at_least_one(
    gpus: int, processes: int | None
) -> None:
    ranks = StageConfig(gpus=gpus, processes=processes).ranks
    assert ranks >= 1
    assert ranks == (processes or gpus or 1)


def test_an_empty_section_makes_a_cluster() -> None:
    assert load_profile(write("mine.toml", "")).local
    assert not load_profile(write("mine.toml", "[slurm]\n")).local
