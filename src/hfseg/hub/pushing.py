# Copyright 2026 The hfseg authors. Licensed under the Apache License, Version 2.0.
"""Publishing a model folder from beginning to end: a copy is made and checked, then uploaded or kept."""

import os
import shutil
import sys
import tempfile
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any

from .checks import folder_problems, loading_problems
from .publishing import (
    MAX_SHARD_SIZE,
    PublishingError,
    add_endpoint,
    check_reachable,
    check_repo_id,
    check_tag,
    find_token,
    make_plan,
    stage,
    upload,
)

__all__ = ["check", "push"]


def check(target: Path, max_shard_size: int) -> list[str]:
    """Lists what is wrong with a repository; loads it only if its files are in order."""
    return folder_problems(target, max_shard_size) or loading_problems(target)


def push(
    folder: str | os.PathLike[str],
    repo_id: str,
    *,
    dry_run: str | os.PathLike[str] | None = None,
    tag: str | None = None,
    private: bool = False,
    commit_message: str = "Upload model with hfseg",
    license_name: str | None = None,
    dataset_ids: Mapping[str, str] | None = None,
    evaluation: Path | None = None,
    include: Sequence[str] = (),
    max_shard_size: int = MAX_SHARD_SIZE,
    endpoint: bool = False,
    show: Callable[[str], Any] = print,
) -> dict[str, Any]:
    """Publishes a model folder on the Hub, if nothing is wrong with it.

    Args:
        folder: Of a trained or converted model, with README.md.
        repo_id: Owner and name on the Hub.
        dry_run: New folder for what would be uploaded; then nothing is.
        tag: Name of this revision.
        private: Whether a new repository is hidden from others.
        commit_message: Of the upload.
        license_name: For a card that names none.
        dataset_ids: Benchmark on the Hub of each dataset of the card's results.
        evaluation: Folder of an evaluation whose results go into the card.
        include: Patterns of further files.
        max_shard_size: Of weights, in bytes.
        endpoint: Whether to add `handler.py` and `requirements.txt` for Inference Endpoints: fixed texts that name
            this package.
        show: Gets the plan as text.

    Returns:
        The plan, `problems` (then nothing was uploaded), and `url` (None if nothing was).

    Raises:
        PublishingError: Nothing was, or could be, published.
    """
    check_repo_id(repo_id)
    check_tag(tag)
    token = None if dry_run is not None else find_token()
    if token is not None:
        check_reachable()
    source = Path(folder)
    temporary = None
    if dry_run is not None:
        target = Path(dry_run)
        if target.resolve() == source.resolve() or target.resolve().is_relative_to(source.resolve()):
            raise PublishingError(f"--dry_run {target} lies in the model's folder: give another place.")
    else:
        temporary = Path(tempfile.mkdtemp(prefix="hfseg-push-"))
        target = temporary / source.resolve().name
    try:
        left_out = stage(
            source,
            target,
            max_shard_size=max_shard_size,
            license_name=license_name,
            dataset_ids=dict(dataset_ids or {}),
            evaluation=evaluation,
            include=list(include),
            link=temporary is not None,
        )
        if endpoint:
            add_endpoint(target)
        print("Checking the folder, and that it loads in a new process ...", file=sys.stderr)
        problems = check(target, max_shard_size)
        plan = make_plan(target, repo_id, commit_message, tag, private, left_out)
        found: dict[str, Any] = {**plan.to_dict(), "problems": problems, "url": None}
        show(plan.to_text())
        if not problems and token is not None:
            found["url"] = upload(target, plan, token)
        return found
    finally:
        if temporary is not None:
            shutil.rmtree(temporary, ignore_errors=True)
