"""Classifiers on the Hugging Face Hub: the same folders, with a model card.

Not huggingface_hub's own mixin: it parses ``config.json`` before our checks see it, writes a
configuration of its own, and would make every import of a model import the client.
"""

from pathlib import Path
from tempfile import TemporaryDirectory
from typing import TYPE_CHECKING, Any, cast

import torch

from hydropress.errors import DataNotFoundError
from hydropress.models.description import brief

if TYPE_CHECKING:
    from hydropress.models.classifier import SequenceClassifier

CARD = "README.md"
#: All that goes to the Hub and comes from it; the last two may be missing.
FILES = ("config.json", "model.safetensors", "compression.json", CARD)

_CARD = """\
---
library_name: hydropress
tags:
- hydropress
- state-space-model
---

# {title}

A sequence classifier made of state space models, with {parameters:,} parameters.

```python
from hydropress.models.classifier import SequenceClassifier

model = SequenceClassifier.from_pretrained({name!r})
```

| config | |
|---|---|
{rows}
"""


class HubModel:
    """What a classifier can do with folders and repositories of the Hub."""

    @classmethod
    def from_pretrained(
        cls,
        name: str | Path,
        *,
        revision: str | None = None,
        token: str | bool | None = None,
        cache_dir: str | Path | None = None,
        force_download: bool = False,
        local_files_only: bool = False,
        device: str | torch.device = "cpu",
    ) -> "SequenceClassifier":
        """Read a classifier from a directory, or from the Hub.

        Parameters
        ----------
        name
            A directory that :func:`hydropress.save` or :meth:`save_pretrained` wrote, or else the
            name of a repository, ``owner/model``.
        revision, token, cache_dir, force_download, local_files_only
            Of the repository, as in ``huggingface_hub.snapshot_download``.
        device
            Where the model is to be.

        Returns
        -------
        SequenceClassifier
            In evaluation mode.

        Raises
        ------
        DataNotFoundError
            If there is no such directory and the Hub gives no such repository.
        FileFormatError
            If the files are not those of a classifier.
        """
        # The file format builds on the class that this one is a part of; so in the other methods.
        from hydropress.models.checkpoint import load

        folder = Path(name)
        if not folder.exists():
            if isinstance(name, Path) or folder.is_absolute() or name.startswith("."):
                raise DataNotFoundError(
                    f"{name} does not exist; required: a directory with a model; check the path"
                )
            folder = _download(
                name,
                revision=revision,
                token=token,
                cache_dir=cache_dir,
                force_download=force_download,
                local_files_only=local_files_only,
            )
        return load(folder, device)

    def save_pretrained(self, directory: str | Path) -> None:
        """Write the classifier as :func:`hydropress.save` does, and a model card if there is none.

        Parameters
        ----------
        directory
            Created if missing.

        Raises
        ------
        InvalidArgumentError
            As in :func:`hydropress.save`.
        """
        from hydropress.atomic import write_atomically
        from hydropress.models.checkpoint import save

        model, folder = cast("SequenceClassifier", self), Path(directory)
        save(model, folder)
        if not (folder / CARD).exists():
            write_atomically(folder / CARD, model_card(model, str(directory)))

    def push_to_hub(
        self,
        repo_id: str,
        *,
        private: bool | None = None,
        token: str | bool | None = None,
        revision: str | None = None,
        commit_message: str = "Upload a hydropress model",
        create_pr: bool = False,
    ) -> str:
        """Upload the classifier to a repository of the Hub, which is made if missing.

        Parameters
        ----------
        repo_id
            ``owner/model``.
        private, token, revision, commit_message, create_pr
            As in ``HfApi.create_repo`` and ``HfApi.create_commit``.

        Returns
        -------
        str
            Address of the commit.

        Notes
        -----
        What the Hub refuses, it says with exceptions of huggingface_hub.  A folder that is on disk
        already, with its ``compression.json``, is uploaded by :func:`push_folder`.
        """
        from hydropress.models.checkpoint import save

        with TemporaryDirectory() as folder:
            save(cast("SequenceClassifier", self), folder)
            return push_folder(
                folder,
                repo_id,
                private=private,
                token=token,
                revision=revision,
                commit_message=commit_message,
                create_pr=create_pr,
            )


def push_folder(
    directory: str | Path,
    repo_id: str,
    *,
    private: bool | None = None,
    token: str | bool | None = None,
    revision: str | None = None,
    commit_message: str = "Upload a hydropress model",
    create_pr: bool = False,
) -> str:
    """Upload the model in a directory, with ``compression.json`` and ``README.md`` if it has them.

    Nothing else in the directory is uploaded.  If neither it nor the repository has a model card,
    one is made.

    Parameters
    ----------
    directory
        Is read by :func:`hydropress.load` first, so that only sound models are uploaded.
    repo_id, private, token, revision, commit_message, create_pr
        As in :meth:`HubModel.push_to_hub`.

    Returns
    -------
    str
        Address of the commit.

    Raises
    ------
    DataNotFoundError, FileFormatError
        If the directory holds no sound model.
    """
    from huggingface_hub import CommitOperationAdd, HfApi

    from hydropress.models.checkpoint import load

    folder = Path(directory)
    model = load(folder)
    contents: dict[str, str | bytes] = {
        name: str(folder / name) for name in FILES if (folder / name).is_file()
    }
    api = HfApi(token=token)
    api.create_repo(repo_id, private=private, exist_ok=True)
    # A card that somebody wrote on the Hub is worth more than ours.
    if CARD not in contents and not api.file_exists(repo_id, CARD, revision=revision):
        contents[CARD] = model_card(model, repo_id).encode()
    commit = api.create_commit(
        repo_id,
        [CommitOperationAdd(path, content) for path, content in contents.items()],
        commit_message=commit_message,
        revision=revision,
        create_pr=create_pr,
    )
    return str(commit.commit_url)


def model_card(model: "SequenceClassifier", name: str) -> str:
    """Return the text of a model card.

    Parameters
    ----------
    model
        The classifier.
    name
        Where it is to be had: a repository or a directory.
    """
    return _CARD.format(
        title=Path(name).name,
        parameters=sum(parameter.numel() for parameter in model.parameters()),
        name=name,
        rows="\n".join(f"| {field} | {value} |" for field, value in model.config.to_dict().items()),
    )


def _download(name: str, **options: Any) -> Path:
    from huggingface_hub import snapshot_download

    try:
        return Path(snapshot_download(name, allow_patterns=list(FILES), **options))
    except Exception as error:  # the client, its transport and its store each have their own
        raise DataNotFoundError(
            f"{name!r} is no directory, and the Hugging Face Hub does not give it "
            f"({brief(error)}); required: a directory with a model, or owner/model; check the "
            "name, the network and, for a private model, the token"
        ) from error
