import json
import os
import shutil
import subprocess
import sys
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from hsd.errors import PreflightError
from hsd.io.files import require_folder, require_space, write_atomic, write_json, write_jsonl
from hsd.io.hashes import sha256_file, sha256_json, sha256_text
from hsd.io.json_reader import read_json, read_object, read_objects
from hsd.io.manifest import MANIFEST, manifest_of, update_manifest
from hsd.io.provenance import provenance
from hsd.io.run_identity import claim, differences

JSON = st.recursive(
    st.none() | st.booleans() | st.integers() | st.text(max_size=5),
    lambda inner: st.dictionaries(st.text(max_size=3), inner, max_size=3),
    max_leaves=8,
)


def test_a_file_is_whole_and_nothing_else_is_left(tmp_path: Path) -> None:
    write_atomic(tmp_path / "new" / "a.txt", "grüße\r\nand more\n")
    assert [p.name for p in (tmp_path / "new").iterdir()] == ["a.txt"]
    assert (tmp_path / "new" / "a.txt").read_bytes() == "grüße\r\nand more\n".encode()


def test_a_write_that_fails_leaves_the_old_file_and_nothing_behind(tmp_path: Path) -> None:
    file = tmp_path / "rows.jsonl"
    file.write_text("old")

    def rows() -> Iterator[dict[str, int]]:
        yield {"a": 1}
        raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        write_jsonl(file, rows())
    assert [p.name for p in tmp_path.iterdir() if p.is_file()] == ["rows.jsonl"]
    assert file.read_text() == "old"


def test_json_holds_no_value_that_is_not_a_number(tmp_path: Path) -> None:
    for value in (float("nan"), [float("inf")]):
        with pytest.raises(ValueError, match="not JSON compliant"):
            write_json(tmp_path / "a.json", {"x": value})
    assert not list(tmp_path.glob("*.json"))


def test_a_written_file_has_the_usual_permissions(tmp_path: Path) -> None:
    before = os.umask(0o027)
    try:
        write_atomic(tmp_path / "a", "x")
        assert os.umask(0o027) == 0o027  # asking for the mask does not change it
    finally:
        os.umask(before)
    assert (tmp_path / "a").stat().st_mode & 0o777 == 0o640


def test_jsonl_has_one_object_a_line(tmp_path: Path) -> None:
    write_jsonl(tmp_path / "a", [{"t": "ä\n"}, {"t": "b"}])
    lines = (tmp_path / "a").read_text(encoding="utf-8").splitlines()
    assert [json.loads(line)["t"] for line in lines] == ["ä\n", "b"]


def test_reading_says_which_file_is_missing_and_which_line_is_no_json(tmp_path: Path) -> None:
    with pytest.raises(PreflightError, match=r"manifest\.json: no such file; is .* a finished run"):
        read_json(tmp_path / "manifest.json")
    (tmp_path / "a.json").write_text('{"a": 1,\n oops}')
    with pytest.raises(PreflightError, match=r"a\.json:2: not JSON"):
        read_json(tmp_path / "a.json")


DAMAGED = {
    b'{"a": "\xff"}': "byte 7 is not UTF-8",
    b'{"a":' * 60_000 + b"1" + b"}" * 60_000: "nested too deep",
    b"[" * 60_000: "nested too deep",
    b'{"a": ' + b"9" * 5_000 + b"}": "a number has too many digits",
    b"": "not JSON",
    b'{"a": 1': "not JSON",
}


@pytest.mark.parametrize(("content", "said"), DAMAGED.items(), ids=range(len(DAMAGED)))
def test_a_damaged_file_is_one_line_whatever_is_in_it(
    content: bytes, said: str, tmp_path: Path
) -> None:
    file = tmp_path / MANIFEST
    file.write_bytes(content)
    readers: list[Callable[[], object]] = [
        lambda: read_json(file),
        lambda: read_object(file),
        lambda: manifest_of(tmp_path),
    ]
    for read in readers:
        with pytest.raises(PreflightError, match=rf"manifest\.json.*{said}"):
            read()
    file.write_bytes(content + b"\n")
    if content:
        with pytest.raises(PreflightError, match=r"manifest\.json:1: not a JSON object"):
            read_objects(file)


@pytest.mark.parametrize(
    ("content", "found"), [("[]", "a list"), ("null", "null"), ("3", "a number"), ('"x"', "a text")]
)
def test_another_kind_of_json_than_an_object_is_one_line(
    content: str, found: str, tmp_path: Path
) -> None:
    (tmp_path / MANIFEST).write_text(content)
    with pytest.raises(PreflightError, match=rf"expected a JSON object, found {found}\."):
        manifest_of(tmp_path)
    (tmp_path / MANIFEST).write_text(f'{{"base": {content}}}')
    if content != "null":
        with pytest.raises(PreflightError, match=rf"base: expected an object, found {found}\."):
            manifest_of(tmp_path)


def test_a_file_that_cannot_be_read_is_one_line(tmp_path: Path) -> None:
    (tmp_path / "a.json").mkdir()
    with pytest.raises(PreflightError, match=r"a\.json: cannot be read \(Is a directory\)"):
        read_json(tmp_path / "a.json")
    with pytest.raises(PreflightError, match=r"cannot be read \(File name too long\)"):
        read_json(tmp_path / ("a" * 300))


def test_a_folder_without_a_manifest_has_an_empty_one(tmp_path: Path) -> None:
    assert manifest_of(tmp_path) == {}


def test_of_lines_the_last_alone_may_be_half_written(tmp_path: Path) -> None:
    file = tmp_path / "a.jsonl"
    file.write_bytes(b'{"a": 1}\n\n{"a": "\xe2\x80\xa8"}\n{"a": "\xe2')
    assert read_objects(file) == [{"a": 1}, {"a": "\u2028"}]
    file.write_bytes(b'{"a": 1}\n[]\n{"a": 3}')
    with pytest.raises(PreflightError, match=r"a\.jsonl:2: not a JSON object; expected one a line"):
        read_objects(file)


def test_differences_name_each_leaf_once() -> None:
    old = {"training": {"batch_size": 4, "epochs": 3}, "seed": 1}
    new = {"training": {"batch_size": 8, "epochs": 3}, "base": "x"}
    assert differences(old, new) == [
        'base: null -> "x"',
        "seed: 1 -> null",
        "training.batch_size: 4 -> 8",
    ]


@given(JSON)
def test_a_value_does_not_differ_from_itself_and_has_one_digest(value: object) -> None:
    again = json.loads(json.dumps(value))
    assert differences(value, again) == []
    assert sha256_json(value) == sha256_json(again)


def test_the_order_of_keys_changes_no_digest_and_a_value_does() -> None:
    assert sha256_json({"a": 1, "b": 2}) == sha256_json({"b": 2, "a": 1})
    assert sha256_json({"a": 1}) != sha256_json({"a": 2})


def test_a_files_digest_is_that_of_its_text(tmp_path: Path) -> None:
    (tmp_path / "a").write_text("hello", encoding="utf-8")
    assert sha256_file(tmp_path / "a") == sha256_text("hello")
    assert sha256_text("hello").startswith("2cf24dba5fb0a30e")


def test_a_folder_is_claimed_once_and_by_the_same_run_again(tmp_path: Path) -> None:
    identity = {"lora": {"rank": 8}, "file": Path("data/train.jsonl")}
    claim(tmp_path / "run", identity)
    claim(tmp_path / "run", identity)
    with pytest.raises(PreflightError, match=r"belongs to another run; differs in lora\.rank: 8"):
        claim(tmp_path / "run", {**identity, "lora": {"rank": 16}})


def test_a_folder_with_other_files_and_a_file_are_refused_untouched(tmp_path: Path) -> None:
    folder = tmp_path / "photos"
    folder.mkdir()
    (folder / "cat.jpg").write_text("x")
    with pytest.raises(PreflightError, match="is not empty and not a run of hsd"):
        claim(folder, {})
    assert [p.name for p in folder.iterdir()] == ["cat.jpg"]
    with pytest.raises(PreflightError, match="is a file"):
        claim(folder / "cat.jpg", {})


def test_the_manifest_keeps_the_parts_that_were_written_before(tmp_path: Path) -> None:
    update_manifest(tmp_path, seed=1, start="now")
    whole = update_manifest(tmp_path, seed=2, file=Path("x"))
    assert whole == {"seed": 2, "start": "now", "file": Path("x")}
    assert read_json(tmp_path / "manifest.json") == {"seed": 2, "start": "now", "file": "x"}


def test_provenance_says_what_is_needed_to_repeat_a_run(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("SLURM_JOB_ID", "17")
    monkeypatch.setenv("SLURM_JOB_NODELIST", "gpu[1-2]")
    monkeypatch.setenv("SLURM_JOB_PARTITION", "a100")
    monkeypatch.setenv("SLURM_CLUSTER_NAME", "north")
    monkeypatch.setenv("SLURM_JOB_USER", "someone")
    monkeypatch.setenv("HSD_IMAGE_DIGEST", "sha256:abc")
    monkeypatch.setenv("HF_TOKEN", "secret")
    found = provenance()
    assert found["slurm_job"] == {
        "SLURM_JOB_ID": "17",
        "SLURM_JOB_NODELIST": "gpu[1-2]",
        "SLURM_JOB_PARTITION": "a100",
        "SLURM_CLUSTER_NAME": "north",
    }
    assert found["image_digest"] == "sha256:abc"
    assert "numpy" in found["packages"]
    assert "secret" not in json.dumps(found)


def test_a_copy_of_the_code_says_itself_where_it_comes_from(tmp_path: Path) -> None:
    """Also when it lies in a checkout of something else, whose commit would mislead."""
    package = tmp_path / "checkout" / "runs" / "code" / "0a1b2c"
    (package / "hsd").mkdir(parents=True)
    home = Path(provenance.__code__.co_filename).parents[1]
    for name in ("__init__.py", "errors.py", "io"):
        (shutil.copytree if name == "io" else shutil.copy)(home / name, package / "hsd" / name)
    facts = {"commit": "f" * 40, "dirty": True, "tree": "0a1b2c"}
    (package / "code.json").write_text(json.dumps(facts))
    program = (
        "import json; from hsd.io.provenance import provenance; "
        "print(json.dumps(provenance()['git']))"
    )
    for arguments in (["init", "--quiet"], ["commit", "--quiet", "--allow-empty", "-m", "x"]):
        who = ["-c", "user.name=x", "-c", "user.email=x@example.com"]
        subprocess.run(["git", *who, "-C", str(tmp_path / "checkout"), *arguments], check=True)

    def says() -> Any:
        done = subprocess.run(
            [sys.executable, "-c", program],
            env=os.environ | {"PYTHONPATH": str(package)},
            capture_output=True,
            text=True,
            check=True,
        )
        return json.loads(done.stdout)

    assert says() == facts
    (package / "code.json").unlink()
    assert says()["commit"] != facts["commit"]


def test_space_is_asked_of_the_nearest_folder_that_exists(tmp_path: Path) -> None:
    require_space(tmp_path / "not" / "yet", 1e-9, "nothing")
    with pytest.raises(PreflightError, match=r"GB free, but a checkpoint needs 1000000000\.00 GB"):
        require_space(tmp_path / "not" / "yet", 1e9, "a checkpoint")


def test_a_folder_that_is_not_there_gets_a_near_name(tmp_path: Path) -> None:
    (tmp_path / "adapter").mkdir()
    assert require_folder(tmp_path / "adapter", "adapter") == tmp_path / "adapter"
    with pytest.raises(PreflightError, match="Did you mean 'adapter'"):
        require_folder(tmp_path / "adaptr", "adapter")
