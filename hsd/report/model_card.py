"""README.md of an adapter: what it is, how it does by group, where it must not be trusted."""

import json
import re
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from hsd.config.model_config import PACKAGE
from hsd.errors import EvaluationError
from hsd.io.digests import require_intact
from hsd.io.hashes import sha256_file
from hsd.io.json_reader import read_object
from hsd.io.manifest import ADAPTER, MANIFEST, manifest_of
from hsd.io.run_identity import IDENTITY
from hsd.metrics.classification import METRIC_NAMES
from hsd.metrics.groups import Share
from hsd.metrics.intervals import Interval
from hsd.report.card_file import write_card_file
from hsd.report.comparability import asked_in, is_imported
from hsd.report.formatting import METRIC_WORDS, UNKNOWN, between, number
from hsd.report.gate_file import GATE, read_verdict
from hsd.report.gate_section import DEFAULT_RULES, verdict_lines
from hsd.report.markdown import markdown_cell, markdown_table
from hsd.report.predictions import find_evaluation, finished_predictions
from hsd.report.report_file import REPORT, read_report
from hsd.report.report_model import EvaluationReport
from hsd.report.report_values import ShareReport
from hsd.visible import visible


def write_card(adapter: Path, evaluation: Path) -> Path:
    """Write the card of an adapter from its manifest and one evaluation; return its path.

    Raises EvaluationError when the evaluation is of other weights, or of posts that they were
    trained on, and when the README.md there is somebody's own.
    """
    if not (adapter / MANIFEST).is_file():
        raise EvaluationError(f"{adapter}: no {MANIFEST} here; is it a finished run?")
    manifest, run = manifest_of(adapter), find_evaluation(evaluation)
    if is_imported(manifest):
        raise EvaluationError(f"{adapter}: a card is of an adapter; this run is imported.")
    report = read_report(run)
    _require_evaluated(adapter, run)
    finished_predictions(run)
    if (run / GATE).exists() and read_verdict(run) != report.gate:
        raise EvaluationError(
            f"{run / REPORT} shows another verdict than {GATE}; write it again with `hsd report`."
        )
    if seen := report.seen_in_training:
        raise EvaluationError(
            f"{evaluation}: {seen} of its {report.headline.n} posts are among those that "
            f"{adapter} was trained on; evaluate it on held-out posts, such as the test split of "
            "`hsd prepare`."
        )
    return write_card_file(adapter, card(manifest, report, adapter.absolute().name))


def _require_evaluated(adapter: Path, run: Path) -> None:
    """Compare weights, not paths: a folder may be trained anew under its name, or moved."""
    model = read_object(run / IDENTITY).get("model") or {}
    if model.get("detector"):
        raise EvaluationError(
            f"{run}: a card is of an adapter; this run is imported. Name an evaluation of "
            f"{adapter}."
        )
    if not model.get("adapter"):
        raise EvaluationError(f"{run} evaluated no adapter; name an evaluation of {adapter}.")
    if not (adapter / ADAPTER).is_file():
        raise EvaluationError(f"{adapter}: no {ADAPTER} here; name the folder of an adapter.")
    require_intact(adapter, EvaluationError, "put it back, or train again")
    if model["adapter"] != sha256_file(adapter / ADAPTER):
        raise EvaluationError(
            f"{run} evaluated other weights than {adapter} holds now; evaluate this adapter, then "
            "write its card from that."
        )


def card(manifest: Mapping[str, Any], report: EvaluationReport, name: str) -> str:
    """Return the model card as Markdown with the front matter that hubs read."""
    config, base = manifest.get("config", {}), manifest.get("base", {})
    base_name = _public(base.get("name") or config.get("model", {}).get("name", "unknown"))
    shown = markdown_cell(base_name)
    parts = [
        f"---\nlibrary_name: peft\nbase_model: {_yaml(base_name)}\npipeline_tag: text-generation\n"
        "tags: [lora, hate-speech-detection]\n---",
        f"# {markdown_cell(name)}",
        f"A LoRA adapter that makes {shown} say whether a post is hateful, as JSON: "
        '`{"classification": "hate"}` or `"normal"`. It assists people who decide; it decides '
        "nothing alone.",
        _section("Made from", _made_from(manifest, report, base_name)),
        _section("How it does", _headline(report)),
        _section("By group", _groups(report)),
        _section("Verdict", _verdict(report)),
        _section("Limits", "\n".join(f"- {markdown_cell(one)}" for one in report.not_measured)),
        _section("How to load", _loading(base_name)),
    ]
    return "\n\n".join(parts) + "\n"


def _made_from(manifest: Mapping[str, Any], report: EvaluationReport, base_name: str) -> str:
    lora = manifest.get("config", {}).get("lora", {})
    train = (manifest.get("data") or {}).get("train", {})
    digest = str(train.get("sha256", UNKNOWN))[:12]
    said = manifest.get("learned_from")
    learned = said if isinstance(said, dict) else {}
    facts = {
        "base": base_name,
        "base revision": (manifest.get("base") or {}).get("revision") or UNKNOWN,
        "rank, alpha": f"{lora.get('rank', UNKNOWN)}, {lora.get('alpha', UNKNOWN)}",
        "training rows": f"{train.get('rows', UNKNOWN)} (digest {digest})",
        "learned from": Path(str(learned.get("file", UNKNOWN))).name,
        "prompt hash": str((manifest.get("data") or {}).get("prompt_hash", UNKNOWN))[:12],
        "exported step": (manifest.get("result") or {}).get("exported_step", UNKNOWN),
        "evaluated with": asked_in(report.provenance).words(),
        "evaluated on": _public((report.provenance.get("data") or {}).get("data_file", UNKNOWN)),
    }
    rows = [(key, str(said)) for key, said in facts.items()]
    return markdown_table(("what", "value"), rows, numbers=False)


def _headline(report: EvaluationReport) -> str:
    columns = {"this adapter": (report.headline, report.intervals)}
    if report.base:
        columns["the base"] = (report.base.metrics, report.base.intervals)
    columns |= {b.name: (b.metrics, b.intervals) for b in report.baselines}
    rows = [
        (METRIC_WORDS[name], *(_estimate(m.of(name), i.of(name)) for m, i in columns.values()))
        for name in METRIC_NAMES
    ]
    said = f"{_posts(report)}; 95 % intervals. An unreadable reply is wrong."
    if base := report.base:
        asked = base.asked.settings.words()
        said += " " + markdown_cell(f"The base is {_public(base.name)}: prompt {asked}.")
    return f"{said}\n\n{markdown_table(('metric', *columns), rows)}"


def _posts(report: EvaluationReport) -> str:
    """Return how many posts were evaluated; `held-out` only where that was looked at and is so."""
    n, seen = report.headline.n, report.seen_in_training
    if seen == 0:
        return f"{n:,} held-out posts"
    if seen is None:
        return f"{n:,} posts (whether the adapter was trained on any of them is not known)"
    return f"{n:,} posts, {seen:,} of which the adapter was trained on"


def _groups(report: EvaluationReport) -> str:
    rates: tuple[Share, ...] = ("false_positive_rate", "false_negative_rate", "precision")
    rows = [
        (name, *(_estimate_of(group.share(rate)) for rate in rates))
        for name, group in report.groups.items()
    ]
    gaps = [
        f"- largest {name.replace('_', ' ')} difference: "
        f"{_estimate(gap.value, gap.interval)} ({gap.highest}, {gap.lowest})"
        for name, gap in report.gaps.raw.gaps.items()
    ]
    table = markdown_table(("group", *(r.replace("_", " ") for r in rates)), rows)
    return "\n\n".join([table, "\n".join(map(markdown_cell, gaps))]) if gaps else table


def _verdict(report: EvaluationReport) -> str:
    gate = report.gate
    if not gate:
        return "No verdict: this adapter was not compared with its base."
    against = f"against {_public(gate.reference)}" if gate.reference else "without a reference"
    lines = [f"Gate: {gate.status}, {against}.", *(f"- {one}" for one in verdict_lines(gate))]
    if gate.default_rules:
        lines[0] += f" {DEFAULT_RULES}"
    return "\n".join([markdown_cell(lines[0]), "", *map(markdown_cell, lines[1:])])


def _loading(base_name: str) -> str:
    by_hsd = "```\nhsd evaluate --model-name THIS_FOLDER --data-file posts.csv\n```\n\n"
    return (
        by_hsd
        + _by_hand(base_name)
        + ("Another prompt than `prompt.json` is another model: none of these numbers hold for it.")
    )


def _by_hand(base_name: str) -> str:
    if base_name.startswith(PACKAGE):
        package = base_name.removeprefix(PACKAGE)
        return (
            f"Its base ships in the Python package {markdown_cell(package)}, which hsd reads.\n\n"
        )
    return (
        "or, with the words of `prompt.json` as the prompt:\n\n```python\n"
        "from peft import PeftModel\nfrom transformers import AutoModelForCausalLM\n\n"
        f"base = AutoModelForCausalLM.from_pretrained({_python(base_name)})\n"
        'model = PeftModel.from_pretrained(base, "THIS_FOLDER")\n```\n\n'
    )


def _public(path: str) -> str:
    """Return a name as others may read it: of a path of this machine its end alone."""
    parts = Path(path).parts
    if not Path(path).is_absolute():
        return path
    return "/".join(parts[-2:] if parts[-1].startswith("run_") else parts[-1:])


def _yaml(name: str) -> str:
    """Return a name as a scalar of YAML: JSON's text is one, where it is not plain."""
    plain = re.fullmatch(r"[A-Za-z0-9][\w./:-]*[\w]", name)
    return name if plain else visible(json.dumps(name, ensure_ascii=False))


def _python(name: str) -> str:
    """Return a name as a string of Python."""
    return json.dumps(name) if name.isascii() else ascii(name)


def _estimate_of(share: ShareReport) -> str:
    return f"{_estimate(share.value, share.interval)} of {share.of}"


def _estimate(value: float | None, interval: Interval | None) -> str:
    if value is None or interval is None:
        return number(value)
    return f"{number(value)} {between(interval)}"


def _section(title: str, body: str) -> str:
    return f"## {title}\n\n{body}"
