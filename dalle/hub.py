"""The Hugging Face Hub: models come from it, through its cache, and go to it."""

import re
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from huggingface_hub import HfApi, constants, hf_hub_download, snapshot_download, try_to_load_from_cache
from huggingface_hub.errors import (
    EntryNotFoundError,
    HfHubHTTPError,
    HFValidationError,
    LocalEntryNotFoundError,
    RepositoryNotFoundError,
)

from dalle import checkpoint, config
from dalle.errors import CheckpointError, DownloadError, UploadError

SUFFIXES = (".json", ".txt", ".yaml", ".yml", ".bpe", ".model", ".safetensors", ".msgpack", *checkpoint.TORCH_SUFFIXES)
_NAME = re.compile(r"\w[\w.-]*/\w[\w.-]*")


@dataclass(frozen=True)
class Source:
    """Some files of one repository."""

    repo: str  # "owner/name"
    files: tuple[str, ...]
    revision: str | None = None  # a commit, or a branch; None: the newest
    folder: str = ""  # where they go, below the model's own folder
    sha256: dict[str, str] = field(default_factory=dict)  # of those files that it is known of


def is_name(text: str) -> bool:
    """Whether it could be a repository's."""
    return _NAME.fullmatch(text) is not None


def missing(sources: Iterable[Source]) -> list[str]:
    """The files that are not in the cache."""
    return [
        f"{file} of {source.repo}"
        for source in sources
        for file in source.files
        if not isinstance(try_to_load_from_cache(source.repo, file, revision=source.revision), str)
    ]


def gather(name: str, sources: Sequence[Source], settings: Mapping[str, Any] | None = None) -> Path:
    """A folder of that name with links to all files of a model, and with `settings` as a `config.json`.

    Files that the cache lacks are fetched, which goes on where it was stopped. Raises DownloadError; CheckpointError
    where a file is not the one that was published.
    """
    folder = _home() / name
    for source in sources:
        for file in source.files:
            path, link = _fetch(source, file, sources), folder / source.folder / Path(file).name
            if link.resolve() == path.resolve():
                continue
            if file in source.sha256 and checkpoint.sha256(path) != source.sha256[file]:
                raise CheckpointError(f"{file} of {source.repo} is damaged, or was changed since: delete it and retry.")
            _link(link, path)
    if settings:
        (folder / "config.json").unlink(missing_ok=True)  # never written through a link
        config.save(settings, folder / "config.json")
    return folder


def snapshot(repo: str) -> Path:
    """A folder with all files of a repository that could belong to a model. Raises DownloadError."""
    try:
        path = Path(snapshot_download(repo, allow_patterns=[f"*{suffix}" for suffix in SUFFIXES]))
    except (RepositoryNotFoundError, HFValidationError) as error:
        raise _unknown(repo) from error
    except (LocalEntryNotFoundError, HfHubHTTPError, OSError) as error:
        raise _unreachable([f"the files of {repo}"]) from error
    link = _home() / repo.replace("/", "--")
    _link(link, path)
    return link


def push(folder: Path, files: Iterable[str], repo: str, private: bool = False) -> str:
    """Upload files of a folder to a repository, which is made where there is none; returns its address.

    Raises UploadError.
    """
    api = HfApi()
    try:
        address = api.create_repo(repo, private=private, exist_ok=True)
        api.upload_folder(repo_id=repo, folder_path=folder, allow_patterns=list(files))
    except HFValidationError as error:
        raise UploadError(f"'{repo}' is no name of a repository: please write owner/name.") from error
    except (HfHubHTTPError, OSError) as error:
        raise UploadError(
            f"The Hugging Face Hub did not take the files for {repo} ({type(error).__name__}). Check the connection, "
            "that HF_HUB_OFFLINE is not set, and that you are logged in with a token that may write: `hf auth login`."
        ) from error
    return str(address)


def _fetch(source: Source, file: str, sources: Iterable[Source]) -> Path:
    try:
        return Path(hf_hub_download(source.repo, file, revision=source.revision))
    except LocalEntryNotFoundError as error:
        raise _unreachable(missing(sources) or [f"{file} of {source.repo}"]) from error
    except (RepositoryNotFoundError, HFValidationError) as error:
        raise _unknown(source.repo) from error
    except EntryNotFoundError as error:
        raise DownloadError(f"The repository {source.repo} has no file {file} any more.") from error
    except (HfHubHTTPError, OSError) as error:
        raise _unreachable([f"{file} of {source.repo}"]) from error


def _unknown(repo: str) -> DownloadError:
    return DownloadError(
        f"There is no '{repo}' on the Hugging Face Hub, nor here; or it is not open to everybody: `hf auth login`."
    )


def _unreachable(files: Iterable[str]) -> DownloadError:
    return DownloadError(
        f"Still to be fetched: {', '.join(files)}. Check the connection to the Hugging Face Hub, and that "
        "HF_HUB_OFFLINE is not set; a download goes on where it was stopped."
    )


def _home() -> Path:
    """Where folders of links are, beside the Hub's own cache."""
    return Path(constants.HF_HOME) / "dalle"


def _link(link: Path, path: Path) -> None:
    link.parent.mkdir(parents=True, exist_ok=True)
    link.unlink(missing_ok=True)
    link.symlink_to(path.absolute())
