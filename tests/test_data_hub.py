"""Data sets of the hub: names, tokens, rows, and what is said when there is no network."""

from pathlib import Path

import pytest

from hsd.data.hub_rows import HubName, download
from hsd.data.read_rows import apart, rows_of
from hsd.errors import DataError
from hsd.hub.token import read_token, token_in


@pytest.mark.parametrize(
    ("text", "parts"),
    [
        ("o/n", ("o/n", None, None)),
        ("o/n@abc", ("o/n", None, "abc")),
        ("o/n#annotated@abc", ("o/n", "annotated", "abc")),
    ],
)
def test_a_hub_name_has_a_config_and_a_revision(
    text: str, parts: tuple[str, str | None, str | None]
) -> None:
    assert HubName.parse(text) == HubName(*parts)


def test_rows_know_their_split_and_commit() -> None:
    found = rows_of({"train": [{"text": "a"}, {"text": "b", "split": "test"}]}, "hub:o/n@abc")
    rows, _ = apart(found)
    assert [(row.values["split"], row.place) for row in rows] == [
        ("train", "hub:o/n@abc/train:1"),
        ("test", "hub:o/n@abc/train:2"),
    ]


def test_the_token_comes_from_the_environment_or_a_file(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.delenv("HF_TOKEN", raising=False)
    monkeypatch.delenv("HF_TOKEN_PATH", raising=False)
    assert read_token() is None
    (tmp_path / "token").write_text("from-file\n")
    monkeypatch.setenv("HF_TOKEN_PATH", str(tmp_path / "token"))
    assert read_token() == "from-file"
    monkeypatch.setenv("HF_TOKEN", "from-environment")
    assert read_token() == "from-environment"


def test_a_token_file_that_is_not_there_is_an_error_without_the_token(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.delenv("HF_TOKEN", raising=False)
    monkeypatch.setenv("HF_TOKEN_PATH", str(tmp_path / "absent"))
    with pytest.raises(DataError, match=r"HF_TOKEN_PATH: .*absent cannot be read \(No such file"):
        read_token()


@pytest.mark.parametrize(
    ("content", "word"),
    [
        (b"invented\nsecond-line", "has 2 lines; write the token alone"),
        ("inventéd".encode(), "not ASCII, or invisible"),
        ("invented".encode("utf-16"), "not ASCII, or invisible"),
        (b"inven\x00ted", "not ASCII, or invisible"),
    ],
)
def test_a_token_that_no_header_can_carry_is_an_error_without_the_token(
    tmp_path: Path, content: bytes, word: str
) -> None:
    (tmp_path / "file").write_bytes(content)
    with pytest.raises(DataError, match=f"server.token_file: .*file .*{word}") as error:
        token_in(tmp_path / "file", "server.token_file")
    said = str(error.value)
    assert "\n" not in said
    assert "inven" not in said.replace(str(tmp_path), "")


def test_without_the_hub_the_error_says_how_to_bring_the_files(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.delenv("HF_TOKEN_PATH", raising=False)
    monkeypatch.setattr("huggingface_hub.constants.HF_HUB_OFFLINE", True)
    with pytest.raises(DataError) as error:
        download("owner/posts")
    message = str(error.value)
    assert message.startswith("hub:owner/posts: the Hugging Face hub cannot be reached")
    assert "hf download --repo-type dataset owner/posts" in message
    assert "--source KIND:FILE" in message
