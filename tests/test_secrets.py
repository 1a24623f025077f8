"""One list of what is a secret, and every place that uses it."""

import json
from pathlib import Path

import click
import pytest

from hsd.config import TrainConfig
from hsd.config.loading import load_train_config, resolve_train_config
from hsd.config.redaction import redacted, secret_keys, with_references
from hsd.config.run_record import recorded
from hsd.errors import ModelError
from hsd.secrets import hidden, holds_secret, is_secret, is_secret_name, without_secrets
from jobs.terminal.entry import _status

SECRET = [
    "HF_TOKEN", "hf_token", "WANDB_API_KEY", "WANDB_KEY", "OPENAI_KEY", "OPENAI_APIKEY", "DB_PASS",
    "DB_PASSWD", "MYSQL_PWD", "DB_PW", "SSHPASS", "PGPASSWORD", "GPG_PASSPHRASE", "PASSPHRASE",
    "AWS_SECRET_ACCESS_KEY", "AWS_ACCESS_KEY_ID", "ACCESS_KEY", "PRIVATE_KEY", "SSH_PRIVATE_KEY",
    "DATABASE_URL", "MONGO_CONNECTION_STRING", "GH_PAT", "JWT", "MY_JWT", "SENTRY_DSN", "NPM_AUTH",
    "GIT_CREDENTIALS", "SLACK_WEBHOOK_URL", "SESSION_COOKIE", "CLIENT_SECRET",
]  # fmt: skip
OPEN = [
    "TOKENIZERS_PARALLELISM", "HF_TOKEN_PATH", "PASSWORD_FILE", "PWD", "OLDPWD", "PATH", "HF_HOME",
    "KEYBOARD", "MONKEY", "PATTERN", "COMPASS", "SSH_AUTH_SOCK", "XAUTHORITY", "PIP_INDEX_URL",
    "http_proxy", "OMP_NUM_THREADS", "LD_LIBRARY_PATH", "AUTHOR", "DISPATCH",
]  # fmt: skip


@pytest.mark.parametrize("name", SECRET)
def test_a_secret_is_known_by_its_name(name: str) -> None:
    assert is_secret_name(name)


@pytest.mark.parametrize("name", OPEN)
def test_what_is_called_otherwise_is_none(name: str) -> None:
    assert not is_secret_name(name)


@pytest.mark.parametrize(
    ("text", "is_one"),
    [
        ("https://me:word@pypi.org/simple", True),
        ("http://proxy-user:word@10.0.0.1:8080", True),
        ("https://glpat@git.site/x", True),
        ("postgres://u:p@db/x", True),
        ("eyJhbGciOiJIUzI1NiJ9.eyJzdWIiOiIxMjM0In0.c2lnbmF0dXJl", True),
        ("xoxb-123456789012-abc", True),
        ("-----BEGIN RSA PRIVATE KEY-----\nMIIE", True),
        ("http://10.0.0.1:8080", False),
        ("https://pypi.org/simple", False),
        ("ssh://git@host/x", False),
        ("git@host:x.git", False),
        ("data/hf_x.jsonl", False),
        ("/scratch/me/hf_datasets/train.jsonl", False),
        ("runs/sk-learn-runs-of-all-kinds", False),
        ("run at 10:30@node", False),
    ],
)
def test_a_secret_is_known_by_its_content(text: str, is_one: bool) -> None:
    assert holds_secret(text) == is_one


def test_a_message_keeps_all_of_a_url_but_its_secret() -> None:
    said = hidden("model 'https://u:TOKEN@h/x' and http://TOKEN@h: no such folder")
    assert said == "model 'https://***@h/x' and http://***@h: no such folder"


def test_a_name_of_a_model_is_no_secret_whatever_its_variable_is_called() -> None:
    assert not is_secret("MODEL_KEY", "openai/gpt-oss-20b")
    assert is_secret("SITE_SECRET", "a/b")


def test_an_environment_loses_its_secrets_and_what_repeats_them() -> None:
    given = {
        "DB_PASS": "word-of-mine",
        "LAUNCH": "psql --password word-of-mine",
        "PIP_INDEX_URL": "https://me:word@pypi.site/simple",
        "HTTPS_PROXY": "http://me:word@proxy:80",
        "http_proxy": "http://proxy:80",
        "TOKENIZERS_PARALLELISM": "false",
        "HF_TOKEN_PATH": "/home/me/token",
    }
    kept = without_secrets(given)
    assert sorted(kept) == ["HF_TOKEN_PATH", "TOKENIZERS_PARALLELISM", "http_proxy"]


def test_a_run_keeps_a_secret_variable_as_it_was_written_and_reloads(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """config.json lies beside the adapter that people publish."""
    monkeypatch.setenv("SITE_KEY", "open-sesame")
    monkeypatch.setenv("FOLDER", "plain-folder")
    config = load_train_config(
        "default", ["data.train_file=/x/${SITE_KEY}/t.jsonl", "output_dir=${FOLDER}"]
    )
    with recorded(tmp_path, "train", config, gpus=0, since=0.0):
        pass
    for file in tmp_path.glob("*.json"):
        assert "sesame" not in file.read_text(), file
    kept = json.loads((tmp_path / "config.json").read_text())
    assert kept["data"]["train_file"] == "/x/${SITE_KEY}/t.jsonl"
    assert kept["output_dir"] == "plain-folder"
    assert load_train_config(str(tmp_path / "config.json")) == config


def test_one_value_within_another_is_kept_by_the_longer_one(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setenv("A_TOKEN", "sesame-open")
    monkeypatch.setenv("B_TOKEN", "sesame-open-door")
    tree = {"a": ["x sesame-open-door", {"b": "sesame-open"}], "n": 3, "none": None}
    assert with_references(tree) == {
        "a": ["x ${B_TOKEN}", {"b": "${A_TOKEN}"}],
        "n": 3,
        "none": None,
    }


def test_keys_of_secrets_are_named_where_they_stand() -> None:
    tree = {
        "model": {"name": "https://u:p@h/x"},
        "set": {"a": ["hf_abcdefghijklmnopqrst"]},
        "seed": 1,
    }
    assert secret_keys(tree) == ["model.name", "set.a"]
    assert secret_keys(TrainConfig().model_dump(mode="json")) == []
    assert redacted(tree)["model"] == {"name": "***"}


def test_an_error_line_shows_no_secret(
    capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("SITE_KEY", "open-sesame")
    monkeypatch.setattr("sys.argv", ["x"])

    @click.command()
    def refused() -> None:
        raise ModelError("model 'https://u:TOKEN@h/x': no such folder; data '/x/open-sesame'")

    assert _status(refused, "x") == 11
    assert capsys.readouterr().err == (
        "Error: model 'https://***@h/x': no such folder; data '/x/***'\n"
    )


def test_what_is_shown_of_a_config_hides_what_the_list_names(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setenv("WANDB_KEY", "short")
    resolved = resolve_train_config("default", ["model.revision=${WANDB_KEY}"])
    assert resolved.shown()["model"]["revision"] == "***"
