# Copyright 2026 The hfseg authors. Licensed under the Apache License, Version 2.0.
"""What may change between the parts of a run: one table for its recipe, and a fingerprint of its data."""

import hashlib
import json
import logging
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

__all__ = ["CHANGEABLE", "JUDGING", "MOVABLE", "CheckpointError", "check_resumed", "data_fingerprint"]

logger = logging.getLogger(__name__)

# What a recipe may say otherwise when a run is resumed; all else belongs to the run and would be ignored or mixed.
# Ends of runs and how often something is done; how samples are loaded; what is evaluated; where files lie.
CHANGEABLE = (
    "data.num_workers",
    "data.on_error",
    "data.train.path",
    "data.validation",
    "data.validation_transforms",
    "run.card_images",
    "run.channels_last",
    "run.compile",
    "run.epochs",
    "run.evaluate_every",
    "run.evaluation",
    "run.final_weights",
    "run.find_unused_parameters",
    "run.global_batch_size",
    "run.gradient_checkpointing",
    "run.greater_is_better",
    "run.keep_last",
    "run.log_every",
    "run.log_images",
    "run.max_seconds",
    "run.max_steps",
    "run.metric",
    "run.patience",
    "run.project",
    "run.save_every",
    "run.trackers",
)
# May lie in another folder, under the same name: what they hold is in the checkpoint already.
MOVABLE = ("model.backbone", "model.pretrained", "model.tokenizer")
# Say what the best evaluation is: with another one the best so far is forgotten.
JUDGING = (
    "data.validation",
    "data.validation_transforms",
    "run.evaluation",
    "run.greater_is_better",
    "run.metric",
)
# May change together if a whole update sees as many samples as before, e.g. on another number of processes.
PER_UPDATE = ("data.batch_size", "run.gradient_accumulation_steps")


class CheckpointError(OSError):
    """A checkpoint could not be written or read; earlier checkpoints are intact."""


def check_resumed(
    folder: Path,
    plain: Mapping[str, Any],
    own_recipe: Mapping[str, Any],
    data: Mapping[str, Any] | None,
    accelerator: Any,
    allow_changed_data: bool = False,
) -> bool:
    """Refuses changes of recipe and data that could not take effect in a resumed run.

    Args:
        folder: The checkpoint.
        plain: Its `trainer_state.json`.
        own_recipe: Of the run that resumes.
        data: Fingerprint of its training data; None if they have none.
        accelerator: Of the run.
        allow_changed_data: Go on with other data all the same.

    Returns:
        Whether the best evaluation so far still counts.

    Raises:
        CheckpointError: Naming them, and what may change.
    """
    recipe = json.loads(json.dumps(own_recipe))  # as it is read back: keys are strings, tuples are lists
    changed = list(_differences(plain["recipe"], recipe))
    before = _samples_per_update(plain["recipe"], plain["world_size"])
    same_update = before == _samples_per_update(recipe, accelerator.num_processes)
    _refuse_changes(folder, changed, same_update)
    if changed and accelerator.is_main_process:
        logger.warning("Changed since %s: %s.", folder.name, "; ".join(text for _, text, _ in changed))
    _check_data(folder, plain.get("data"), data, accelerator, allow_changed_data)
    judged_otherwise = [name for name, *_ in changed if any(_within(name, field) for field in JUDGING)]
    if judged_otherwise and plain.get("best_metric") is not None and accelerator.is_main_process:
        logger.warning("With another %s the best evaluation so far is forgotten.", ", ".join(judged_otherwise))
    return not judged_otherwise


def _refuse_changes(folder: Path, changed: Sequence[tuple[str, str, bool]], same_update: bool) -> None:
    """Refuses differences of recipes that cannot change within a run.

    Args:
        folder: The checkpoint.
        changed: From `_differences`.
        same_update: Whether an update still has as many samples; then its division may change.
    """
    refused = [
        text
        for name, text, moved in changed
        if not any(_within(name, field) for field in CHANGEABLE) and not (moved and name in MOVABLE)
    ]
    if same_update:
        refused = [text for text in refused if text.partition(":")[0] not in PER_UPDATE]
    if refused:
        raise CheckpointError(
            f"The recipe differs from the one that wrote {folder} in {'; '.join(refused)}, which cannot change "
            "within a run. Set it back, or start a new run from these weights (model.pretrained, another "
            f"--output_dir). What may change: {', '.join(CHANGEABLE)}; and the folder of {', '.join(MOVABLE)}."
        )


def _check_data(
    folder: Path, before: Mapping[str, Any] | None, data: Mapping[str, Any] | None, accelerator: Any, allowed: bool
) -> None:
    """Refuses other training data than the checkpoint's, or warns of them where they are allowed."""
    if before is None or data is None:
        return
    # An older version may have described the same data by fewer entries.
    differing = [name for name, value in data.items() if name in before and before[name] != value]
    if not differing:
        return
    said = "; ".join(f"{name}: {before[name]} -> {data[name]}" for name in differing)
    if not allowed:
        raise CheckpointError(
            f"The training data are not those that {folder} was written with ({said}), so the run would not be "
            "the one that began. Restore them, start a new run from these weights (model.pretrained), or give "
            "--allow_changed_data."
        )
    if accelerator.is_main_process:
        logger.warning("The training data changed since %s (%s).", folder.name, said)


def _differences(old: Mapping[str, Any], new: Mapping[str, Any], prefix: str = "") -> Any:
    """Yields the name, `section.key: old -> new`, and whether only the folder differs, of every difference."""
    for key in sorted(set(old) | set(new)):
        before, after = old.get(key), new.get(key)
        if isinstance(before, Mapping) and isinstance(after, Mapping):
            yield from _differences(before, after, f"{prefix}{key}.")
        elif before != after:
            moved = isinstance(before, str) and isinstance(after, str) and Path(before).name == Path(after).name
            yield f"{prefix}{key}", f"{prefix}{key}: {before!r} -> {after!r}", moved


def _within(name: str, field: str) -> bool:
    """Says whether a dotted name is a field or lies below it."""
    return name == field or name.startswith(f"{field}.")


def _samples_per_update(recipe: Mapping[str, Any], processes: int) -> int:
    """Samples of one update, over all processes."""
    return recipe["data"]["batch_size"] * recipe["run"]["gradient_accumulation_steps"] * processes


def data_fingerprint(dataset: Any) -> dict[str, Any] | None:
    """Describes training data: number, names and, where the dataset knows its files, sizes of the samples.

    Of a dataset that draws from others (`parts`, a mapping) those are described: its own samples follow from them and
    from the recipe, and may be millions. Of one around another (`dataset`) the inner one's files count. A dataset may
    also say it all by `fingerprint()`. None for data without a length.
    """
    if hasattr(dataset, "fingerprint"):
        return dict(dataset.fingerprint())
    try:
        number = len(dataset)
    except TypeError:
        return None
    parts = getattr(dataset, "parts", None)
    if isinstance(parts, Mapping):
        return {"samples": number, "parts": {name: data_fingerprint(part) for name, part in parts.items()}}
    names, sizes = hashlib.sha256(), hashlib.sha256()
    known = files = 0
    samples = getattr(dataset, "samples", getattr(getattr(dataset, "dataset", None), "samples", None))
    for index in range(number):
        if hasattr(dataset, "sample_id"):
            names.update(f"{dataset.sample_id(index)}\n".encode())
            known += 1
        if isinstance(samples, Sequence) and len(samples) == number:
            for path in _files_of(samples[index]):
                sizes.update(f"{path.name} {path.stat().st_size}\n".encode())
                files += 1
    found: dict[str, Any] = {"samples": number}
    if known:
        found["names"] = names.hexdigest()[:16]
    if files:
        found["files"], found["sizes"] = files, sizes.hexdigest()[:16]
    return found


def _files_of(sample: Any) -> list[Path]:
    """Lists the files that a dataset's entry of a sample names."""
    values = (
        sample.values() if isinstance(sample, Mapping) else vars(sample).values() if hasattr(sample, "__dict__") else ()
    )
    return [Path(value) for value in values if isinstance(value, Path) and value.is_file()]
