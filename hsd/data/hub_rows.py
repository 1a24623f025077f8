"""Downloads a data set from the Hugging Face hub, at a recorded commit; none of its code runs."""

from dataclasses import dataclass

from hsd.data.arrow import dataset_rows
from hsd.data.read_rows import BadRow, Row, rows_of
from hsd.errors import DataError
from hsd.hub.token import TOKEN_FILE, read_token


@dataclass(frozen=True, slots=True)
class HubName:
    """`NAME[#CONFIG][@REVISION]` taken apart."""

    name: str
    config: str | None = None
    revision: str | None = None

    @classmethod
    def parse(cls, text: str) -> "HubName":
        """Return the parts of `owner/name#config@revision`."""
        rest, _, revision = text.partition("@")
        name, _, config = rest.partition("#")
        return cls(name, config or None, revision or None)


def download(text: str) -> tuple[list[Row | BadRow], str]:
    """Return the rows of all splits, each with its split, and the commit they are of.

    Codes of named classes come as names.

    Only data files (JSON, CSV, Parquet) are read. Raises DataError when the hub cannot be
    reached or refuses, with what to do instead.
    """
    from datasets import load_dataset
    from datasets.exceptions import DatasetNotFoundError
    from httpx2 import HTTPError  # what huggingface_hub speaks HTTP with
    from huggingface_hub.errors import HfHubHTTPError, OfflineModeIsEnabled

    wanted = HubName.parse(text)
    token = read_token()
    try:
        commit = _commit(wanted, token)
        splits = load_dataset(wanted.name, wanted.config, revision=commit, token=token)
    except (OfflineModeIsEnabled, HTTPError, ConnectionError) as error:
        if isinstance(error, HfHubHTTPError) and error.response is not None:
            raise _refused(wanted, str(error.response.status_code)) from None
        raise _offline(wanted) from None
    except DatasetNotFoundError as error:
        raise _refused(wanted, _first_line(error)) from None
    except (ValueError, RuntimeError) as error:  # which config; a data set that is a script
        raise DataError(f"hub:{text}: {_first_line(error)}.") from None
    rows = {str(name): dataset_rows(split) for name, split in splits.items()}
    return list(rows_of(rows, f"hub:{wanted.name}@{commit[:12]}")), commit


def _commit(wanted: HubName, token: str | None) -> str:
    from huggingface_hub import HfApi

    info = HfApi().dataset_info(wanted.name, revision=wanted.revision, token=token)
    return str(info.sha)


def _offline(wanted: HubName) -> DataError:
    return DataError(
        f"hub:{wanted.name}: the Hugging Face hub cannot be reached from here (offline). Where it "
        f"can, run `hf download --repo-type dataset {wanted.name} --local-dir FOLDER`, copy the "
        "JSONL, JSON, CSV or Parquet files here, and pass --source KIND:FILE."
    )


def _refused(wanted: HubName, why: str) -> DataError:
    return DataError(
        f"hub:{wanted.name}: the hub refused or does not know it ({why}); check the name, and for "
        f"a private or gated data set accept its terms and set HF_TOKEN or {TOKEN_FILE}."
    )


def _first_line(error: Exception) -> str:
    return str(error).strip().split("\n")[0].rstrip(".")
