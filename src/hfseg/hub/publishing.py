# Copyright 2026 The hfseg authors. Licensed under the Apache License, Version 2.0.
"""Publishing a folder: the repository is put together in a folder of its own, checked there, then uploaded.

`stage` copies what belongs in a repository and adds what the Hub needs: the file through which
`trust_remote_code=True` finds the classes, result files, shards in the place of a too large file. What is checked,
shown by a dry run and uploaded is that folder, so the three cannot differ.
"""

import hashlib
import json
import os
import re
import shutil
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

from huggingface_hub import HfApi, constants, get_session, get_token, split_torch_state_dict_into_shards
from huggingface_hub.errors import HfHubHTTPError, HFValidationError, OfflineModeIsEnabled
from huggingface_hub.utils import validate_repo_id

from .. import auto
from ..files.hub_access import READ_SECONDS, resolves
from ..files.model_folders import ModelFolderError, check_code
from ..files.remote_code import SHIM, auto_classes, write_shim
from ..files.repositories import is_component_file, is_model_file, leaves_folder, private_reason, without_paths
from .cards import HUB_ID, result_files, split_card, with_evaluation, with_fields
from .checks import class_of, components, is_pickle, read_json

WEIGHTS = re.compile(r"(model|diffusion_pytorch_model)\.safetensors")
TAG = re.compile(r"[A-Za-z0-9][\w.+-]*(/[\w.+-]+)*")
MAX_SHARD_SIZE = 5 * 10**9
# What the client raises when nobody answers: the library under huggingface_hub changed its name between releases.
TRANSPORT_ERROR: type[Exception] = HfHubHTTPError.__bases__[0]


class PublishingError(Exception):
    """A folder that cannot be published, or a Hub that does not take it; the message says what to do."""


@dataclass(frozen=True)
class PlannedFile:
    """A file of the repository to be: path, bytes and checksum."""

    path: str
    size: int
    sha256: str


@dataclass(frozen=True)
class Plan:
    """What would be uploaded, and how.

    Attributes:
        repo_id: `owner/name`.
        private: Whether a new repository is hidden.
        commit_message: First line of the commit.
        tag: Name of the revision, if it gets one.
        files: Files, sorted by path.
        left_out: Files of the folder that stay at home.
    """

    repo_id: str
    private: bool
    commit_message: str
    tag: str | None
    files: list[PlannedFile]
    left_out: list[str] = field(default_factory=list)

    @property
    def size(self) -> int:
        """Bytes in all."""
        return sum(file.size for file in self.files)

    def to_dict(self) -> dict[str, Any]:
        """As plain data, for `--json`."""
        return {**asdict(self), "bytes": self.size}

    def to_text(self) -> str:
        """As lines for a terminal."""
        kind = "private" if self.private else "public"
        lines = [f"{self.repo_id} ({kind} if new): {len(self.files)} files, {self.size:,} bytes"]
        width = max((len(file.path) for file in self.files), default=0)
        lines += [f"  {file.path:<{width}}  {file.size:>15,}  sha256 {file.sha256}" for file in self.files]
        if self.left_out:
            shown = ", ".join(self.left_out[:8]) + (", ..." if len(self.left_out) > 8 else "")
            lines.append(f"  left out ({len(self.left_out)}): {shown}")
        lines += [f"commit: {self.commit_message}", f"tag: {self.tag or 'none'}"]
        return "\n".join(lines)


def check_repo_id(repo_id: str) -> str:
    """Checks `owner/name`.

    Raises:
        PublishingError: It is no such name.
    """
    try:
        validate_repo_id(repo_id)
    except HFValidationError as error:
        raise PublishingError(f"The repository id is {repo_id!r}: {error}") from error
    if not HUB_ID.fullmatch(repo_id):
        raise PublishingError(f"The repository id is {repo_id!r}; give owner/name, e.g. my-name/my-model.")
    return repo_id


def check_tag(tag: str | None) -> str | None:
    """Checks the name of a tag.

    Raises:
        PublishingError: Git would not take it.
    """
    if tag is not None and (not TAG.fullmatch(tag) or ".." in tag or tag.endswith((".", ".lock"))):
        raise PublishingError(f"The tag is {tag!r}; give letters, digits, dots and dashes, e.g. v1.0.")
    return tag


# -------------------------------------------------------------------------------------------------------------- staging


def images_in(text: str) -> list[str]:
    """Lists the local images that a card shows."""
    found = re.findall(r"!\[[^\]]*\]\(([^)\s]+)", text)
    return [path for path in found if not re.match(r"[a-z]+:", path)]


def selected_files(folder: Path, include: Sequence[str] = ()) -> list[Path]:
    """Lists the files of a folder that belong in its repository, relative to the folder.

    Raises:
        PublishingError: The folder is missing, or is no model folder, or a pickle lies among the files.
    """
    if not folder.is_dir():
        raise PublishingError(f"There is no folder {str(folder)!r}: give the folder of a saved model.")
    is_pipeline = (folder / "model_index.json").is_file()
    if not is_pipeline and not (folder / "config.json").is_file():
        raise PublishingError(
            f"{folder} holds neither config.json nor model_index.json: give the folder that save_pretrained or "
            "hfseg train wrote."
        )
    chosen, pickles = _files_of_model(folder, is_pipeline)
    for pattern in include:
        included = _files_of_pattern(folder, pattern)
        pickles += [path for path in included if is_pickle(path)]
        chosen |= set(included)
    if pickles:
        names = ", ".join(str(path.relative_to(folder)) for path in pickles[:5])
        raise PublishingError(
            f"{folder} holds pickles ({names}), which can run code when they are loaded: delete them "
            "or move them away; weights belong in safetensors (model.save_pretrained writes them)."
        )
    chosen |= _images_of_card(folder)
    for path in sorted(chosen):
        _check_publishable(path, folder)
    return sorted(path.relative_to(folder) for path in chosen)


def _files_of_model(folder: Path, is_pipeline: bool) -> tuple[set[Path], list[Path]]:
    """Files of a model and, of a diffusers pipeline, of its components; and the pickles beside them."""
    top = [path for path in folder.iterdir() if path.is_file()]
    chosen = {path for path in top if is_model_file(path.name, is_pipeline)}
    pickles = sorted(path for path in top if is_pickle(path))
    names = components(read_json(folder / "model_index.json")) if is_pipeline else []
    for place in (folder / name for name in names):
        if place.is_dir():
            inside = [path for path in place.iterdir() if path.is_file()]
            chosen |= {path for path in inside if is_component_file(path.name)}
            pickles += sorted(path for path in inside if is_pickle(path))
    return chosen, pickles


def _files_of_pattern(folder: Path, pattern: str) -> list[Path]:
    """Files that `--include` asks for.

    Raises:
        PublishingError: The pattern leads out of the folder, or no file has such a name.
    """
    if Path(pattern).is_absolute() or ".." in Path(pattern).parts:
        raise PublishingError(f"--include {pattern}: give a pattern of names below {folder}.")
    found = [path for path in folder.glob(pattern) if path.is_file()]
    if not found:
        raise PublishingError(f"--include {pattern}: no file of {folder} has such a name.")
    return found


def _images_of_card(folder: Path) -> set[Path]:
    """Images that README.md shows.

    Raises:
        PublishingError: One is not in the folder.
    """
    card = folder / "README.md"
    if not card.is_file() or leaves_folder(card, folder):
        return set()
    names = images_in(card.read_text(encoding="utf-8"))
    for name in names:
        image = (folder / name).resolve()
        if not image.is_file() or not image.is_relative_to(folder.resolve()):
            raise PublishingError(f"README.md shows {name!r}, which is not in {folder}.")
    return {folder / name for name in names}


def _check_publishable(path: Path, folder: Path) -> None:
    """Refuses a link out of the folder, and a file that is private."""
    below = path.relative_to(folder)
    if leaves_folder(path, folder):
        raise PublishingError(f"{below} is a link out of {folder}: replace it by the file itself, or remove it.")
    reason = private_reason(below)
    if reason is not None:
        raise PublishingError(f"{below} is {reason}, which is not published: leave it out.")


def _place(source: Path, target: Path, link: bool) -> None:
    """Copies a file; where linking is allowed, large ones share their bytes."""
    target.parent.mkdir(parents=True, exist_ok=True)
    if link and source.suffix == ".safetensors":
        try:
            os.link(source.resolve(), target)
            return
        except OSError:  # another file system, or one without links
            pass
    shutil.copyfile(source, target)


def _write_json(path: Path, content: Mapping[str, Any]) -> None:
    path.write_text(json.dumps(content, indent=2) + "\n", encoding="utf-8")


def shard_weights(path: Path, target: Path, max_shard_size: int) -> list[Path]:
    """Writes a safetensors file in shards with an index, one shard in memory at a time.

    Args:
        path: One file, `model.safetensors` or `diffusion_pytorch_model.safetensors`.
        target: Folder for shards and index.
        max_shard_size: Bytes per shard; a larger tensor gets a shard of its own.

    Returns:
        The files written.
    """
    from safetensors import safe_open
    from safetensors.torch import save_file

    stem = path.name.removesuffix(".safetensors")
    with safe_open(path, framework="pt") as file:
        metadata = file.metadata() or {"format": "pt"}
        # Memory-mapped: sizes are looked at, nothing is read.
        tensors = {name: file.get_tensor(name) for name in file.keys()}
        shards = split_torch_state_dict_into_shards(
            tensors, filename_pattern=f"{stem}{{suffix}}.safetensors", max_shard_size=max_shard_size
        )
        written = []
        for name, keys in shards.filename_to_tensors.items():
            save_file({key: tensors[key].contiguous() for key in keys}, target / name, metadata)
            written.append(target / name)
    index = target / f"{path.name}.index.json"
    _write_json(index, {"metadata": shards.metadata, "weight_map": shards.tensor_to_filename})
    return [*written, index]


def stage(
    folder: Path,
    target: Path,
    *,
    max_shard_size: int = MAX_SHARD_SIZE,
    license_name: str | None = None,
    dataset_ids: Mapping[str, str] | None = None,
    evaluation: Path | None = None,
    include: Sequence[str] = (),
    link: bool = False,
) -> list[str]:
    """Puts a repository together.

    Args:
        folder: Folder of a model or pipeline.
        target: Empty or new folder for the repository.
        max_shard_size: Bytes per file of weights.
        license_name: License for a card that names none.
        dataset_ids: Datasets of the card's results to their ids on the Hub; see `cards.result_files`.
        evaluation: Folder of `hfseg evaluate`, whose results go into the card.
        include: Patterns of further files.
        link: Whether weights may share their bytes with the source (for a folder that nobody edits).

    Returns:
        Files of the folder that stay at home.

    Raises:
        PublishingError: The folder is no model folder, or holds pickles; the target holds something.
    """
    if target.exists() and (not target.is_dir() or any(target.iterdir())):
        raise PublishingError(f"{target} exists and is not empty: give a new folder, or empty it.")
    chosen = selected_files(folder, include)
    for name in chosen:
        if name.suffix == ".json":
            try:
                check_code(read_json(folder / name), folder / name)
            except ModelFolderError as error:
                raise PublishingError(str(error)) from error
    target.mkdir(parents=True, exist_ok=True)
    for name in chosen:
        source = folder / name
        if WEIGHTS.fullmatch(name.name) and source.stat().st_size > max_shard_size:
            (target / name).parent.mkdir(parents=True, exist_ok=True)
            shard_weights(source, (target / name).parent, max_shard_size)
        else:
            _place(source, target / name, link)
    if (target / "model_index.json").is_file():
        _add_pipeline_shims(target)
    else:
        _add_model_shims(target)
    _remove_paths(target)
    _complete_card(target, license_name, dataset_ids, evaluation)
    left = {path.relative_to(folder) for path in folder.rglob("*") if path.is_file()} - set(chosen)
    return sorted(str(path) for path in left if not (target / path).exists())


def _remove_paths(target: Path) -> None:
    """Replaces paths of this machine by their last parts, in card and settings."""
    for name in ("training_args.json", "metrics.json"):
        if (target / name).is_file():
            _write_json(target / name, without_paths(read_json(target / name)))
    for path in sorted(target.rglob("*config.json")):
        content = read_json(path)
        cleaned = _without_names(content)
        if cleaned != content:
            _write_json(path, cleaned)
    card = target / "README.md"
    if card.is_file():
        card.write_text(without_paths(card.read_text(encoding="utf-8")), encoding="utf-8")


def _without_names(content: Any) -> Any:
    """Settings without the places they were loaded from."""
    if isinstance(content, dict):
        kept = {key: value for key, value in content.items() if key not in ("_name_or_path", "name_or_path")}
        return {key: _without_names(value) for key, value in kept.items()}
    return [_without_names(value) for value in content] if isinstance(content, list) else content


def add_endpoint(target: Path) -> None:
    """Adds what the Hub's Inference Endpoints ask for: a handler of this package, and what to install.

    Raises:
        PublishingError: The repository is a diffusers pipeline.
    """
    import hfseg

    if (target / "model_index.json").is_file():
        raise PublishingError("--endpoint serves models of transformers; this is a diffusers pipeline.")
    from ..inference.endpoint import HANDLER  # heavy: `hfseg push --help` needs none of it

    (target / "handler.py").write_text(HANDLER, encoding="utf-8")
    (target / "requirements.txt").write_text(f"hfseg=={hfseg.__version__}\n", encoding="utf-8")


def _add_model_shims(target: Path) -> None:
    """Names, in the settings, the classes of the package, and writes the file that imports them."""
    config = read_json(target / "config.json")
    try:
        row = auto.find(str(config.get("model_type")))
    except ValueError as error:
        raise PublishingError(f"config.json: {error}") from error
    config.pop("_name_or_path", None)  # a path of this machine
    _write_json(target / "config.json", config)
    write_shim(target, "config.json", auto_classes(row.model_type, class_of(config)))
    image_processors = {name.partition(":")[2] for name in row.image_processors.values()}
    for name in ("preprocessor_config.json", "processor_config.json"):
        if not (target / name).is_file():
            continue
        content = read_json(target / name)
        classes = {}
        inner = content.get("image_processor") if name == "processor_config.json" else content
        image_processor = (inner or {}).get("image_processor_type")
        if image_processor in image_processors:
            classes["AutoImageProcessor"] = f"{SHIM}.{image_processor}"
        if name == "processor_config.json" and row.processor is not None:
            classes["AutoProcessor"] = f"{SHIM}.{row.processor.partition(':')[2]}"
        if classes:
            write_shim(target, name, classes)


def _add_pipeline_shims(target: Path) -> None:
    """Makes a repository that `DiffusionPipeline` loads: it looks for code beside each component, and nowhere else."""
    index = read_json(target / "model_index.json")
    name = index.get("_class_name")
    pipeline = name[1] if isinstance(name, list) else str(name)
    known = {entry.partition(":")[2]: entry.partition(":")[0] for row in auto.ARCHITECTURES for entry in row.components}
    if pipeline not in known:
        raise PublishingError(
            f"model_index.json names the pipeline {pipeline}; this package has "
            f"{', '.join(sorted(cls for cls in known if cls.endswith('Pipeline')))}."
        )
    index["_class_name"] = ["pipeline", pipeline]
    (target / "pipeline.py").write_text(
        f'"""Finds the pipeline of this folder in the package `hfseg` (pip install hfseg)."""\n\n'
        f"from hfseg import {pipeline}\n",
        encoding="utf-8",
    )
    for component, (module, cls) in components(index).items():
        if cls in known and (module.startswith("hfseg.") or module == SHIM):
            index[component] = [SHIM, cls]
            (target / component).mkdir(exist_ok=True)
            (target / component / f"{SHIM}.py").write_text(
                f'"""Finds a part of this pipeline in the package `hfseg` (pip install hfseg)."""\n\n'
                f"from hfseg import {cls}\n",
                encoding="utf-8",
            )
    _write_json(target / "model_index.json", index)


def _complete_card(
    target: Path, license_name: str | None, dataset_ids: Mapping[str, str] | None, evaluation: Path | None
) -> None:
    """Adds what the command line says to the card, and the result files."""
    card = target / "README.md"
    if not card.is_file():
        return
    text = card.read_text(encoding="utf-8")
    if evaluation is not None:
        results = evaluation / "model_index.yml"
        if not results.is_file():
            raise PublishingError(f"--evaluation: there is no {results}; give the folder that hfseg evaluate wrote.")
        try:
            text = with_evaluation(text, results.read_text(encoding="utf-8"))
        except ValueError as error:
            raise PublishingError(f"--evaluation {evaluation}: {error}") from error
    try:
        metadata, _ = split_card(text)
        if license_name is not None and not metadata.get("license"):
            text = with_fields(text, {"license": license_name})
        metadata, _ = split_card(text)
        files = result_files(metadata)
    except (ValueError, TypeError, KeyError):
        return  # the check of the card says what is wrong
    if dataset_ids:
        try:
            files = result_files(metadata, dataset_ids)
        except ValueError as error:
            raise PublishingError(f"--dataset: {error}") from error
    card.write_text(text, encoding="utf-8")
    for name, content in files.items():
        path = target / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(content, encoding="utf-8")


# ----------------------------------------------------------------------------------------------------- plan and upload


def checksum(path: Path) -> str:
    """Computes the SHA-256 of a file, as the Hub names its large files."""
    digest = hashlib.sha256()
    with open(path, "rb") as file:
        while block := file.read(1 << 20):
            digest.update(block)
    return digest.hexdigest()


def make_plan(
    target: Path, repo_id: str, commit_message: str, tag: str | None, private: bool, left_out: Sequence[str] = ()
) -> Plan:
    """Describes the upload of a folder."""
    files = [
        PlannedFile(path.relative_to(target).as_posix(), path.stat().st_size, checksum(path))
        for path in sorted(target.rglob("*"))
        if path.is_file()
    ]
    return Plan(repo_id, private, commit_message, tag, files, list(left_out))


def find_token(token: str | None = None) -> str:
    """Finds the access token.

    Raises:
        PublishingError: There is none.
    """
    found = token or get_token()
    if not found:
        raise PublishingError(
            "There is no access token: run `hf auth login`, or set HF_TOKEN to a token that may write "
            "(huggingface.co/settings/tokens). --dry_run DIR needs none."
        )
    return found


def check_reachable(endpoint: str | None = None) -> None:
    """Asks the Hub for any answer at all, within the time of all look-ups, before a folder is copied and checked.

    Raises:
        PublishingError: There is none, or HF_HUB_OFFLINE is set.
    """
    address = endpoint or constants.ENDPOINT
    reason = "it gives no answer"
    try:
        if resolves(urlsplit(address).hostname or ""):
            get_session().head(address, timeout=READ_SECONDS)
            return
        reason = "its name has no address"
    except OfflineModeIsEnabled as error:
        raise PublishingError("HF_HUB_OFFLINE is set: unset it to publish, or use --dry_run DIR.") from error
    except (OSError, TRANSPORT_ERROR) as error:
        reason = str(error) or reason
    raise PublishingError(
        f"The Hub cannot be reached at {address} ({reason}): check the network, or use --dry_run DIR."
    )


def upload(target: Path, plan: Plan, token: str, endpoint: str | None = None, repo_type: str = "model") -> str:
    """Creates the repository if need be, uploads the folder, and tags the commit.

    Interrupted, it can be called again: files that the Hub has already are not sent twice, and a commit that would
    change nothing is not made.

    Returns:
        Address of the commit.

    Raises:
        PublishingError: The Hub refuses, or cannot be reached.
    """
    api = HfApi(endpoint=endpoint, token=token)
    step = "create the repository"
    try:
        api.create_repo(plan.repo_id, private=plan.private, exist_ok=True, repo_type=repo_type)
        step = "upload"
        commit = api.upload_folder(
            repo_id=plan.repo_id, folder_path=target, commit_message=plan.commit_message, repo_type=repo_type
        )
        if plan.tag is not None:
            step = f"tag {plan.tag}"
            api.create_tag(
                plan.repo_id, tag=plan.tag, revision=commit.oid, tag_message=plan.commit_message, repo_type=repo_type
            )
    except OfflineModeIsEnabled as error:
        raise PublishingError("HF_HUB_OFFLINE is set: unset it to publish, or use --dry_run DIR.") from error
    except HfHubHTTPError as error:
        status = error.response.status_code if error.response is not None else None
        advice = {
            401: " The token is not valid: run `hf auth login`.",
            403: f" The token may not write to {plan.repo_id}: make one that may.",
            409: f" The tag {plan.tag!r} exists already: give another (the files are uploaded)."
            if "tag" in step
            else "",
        }.get(status or 0, " Call the command again: what was uploaded is not sent twice.")
        raise PublishingError(f"Could not {step} ({error}).{advice}") from error
    except ValueError as error:  # a card that the Hub finds invalid, among others
        raise PublishingError(f"Could not {step}: {error}") from error
    except (OSError, TRANSPORT_ERROR) as error:
        raise PublishingError(
            f"Could not {step}: {error}. Call the command again: what was uploaded is not sent twice."
        ) from error
    return str(commit.commit_url)
