"""Labels with the text-generation pipeline: python evaluate_pipeline.py MODEL ROWS OUTPUT.

ROWS is JSONL of `id`, `prompt` messages and `label`; the replies go to OUTPUT, the accuracy to the
terminal.
"""

import json
import sys
from pathlib import Path

import torch
from transformers import pipeline


def label_of(reply: str) -> str | None:
    start, end = reply.find("{"), reply.find("}")
    try:
        return str(json.loads(reply[start : end + 1])["classification"])
    except (ValueError, KeyError, TypeError):
        return None


def main(model: str, rows: str, output: str) -> None:
    ask = pipeline("text-generation", model=model, dtype=torch.float32, device="cpu")
    right, lines = 0, []
    asked = [json.loads(line) for line in Path(rows).read_text(encoding="utf-8").splitlines()]
    for row in asked:
        out = ask(row["prompt"], max_new_tokens=24, do_sample=False, return_full_text=False)
        found = label_of(out[0]["generated_text"])
        right += found == row["label"]
        lines.append(json.dumps({"id": row["id"], "label": found}) + "\n")
    Path(output).write_text("".join(lines), encoding="utf-8")
    print(f"accuracy {right / len(asked):.3f} of {len(asked)}")


if __name__ == "__main__":
    main(*sys.argv[1:])
