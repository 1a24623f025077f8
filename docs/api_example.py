"""Train on the embedded posts, evaluate beside the base, compare, and ask the gate."""

import hsd

quick = ["training.max_steps=2", "training.warmup_steps=0", "data.max_validation_rows=16"]
config = hsd.load_config("demo", ["output_dir=runs/api/train", *quick])
trained = hsd.train(config)
evaluation = hsd.load_eval_config(
    model=config.model.model_dump(), adapter=str(trained.folder), data_file="embedded",
    mode="score", max_samples=16, output_dir="runs/api/evaluation",
)  # fmt: skip
base, adapter = hsd.evaluate_with_base(evaluation)
print(hsd.compare([base.folder, adapter.folder]).markdown())
print(hsd.gate(hsd.load_gate_rules(), adapter.predictions, base.predictions).status.value)
