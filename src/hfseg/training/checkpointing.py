# Copyright 2026 The hfseg authors. Licensed under the Apache License, Version 2.0.
"""Checkpoints that are either complete or absent, and restore a run bit by bit.

A checkpoint is a folder `checkpoint-<step>`:

* `model.safetensors`: weights and buffers;
* `optimizer.safetensors`: state tensors by `<parameter index>.<key>`; groups and plain numbers as JSON in its metadata;
  `optimizer_<phase>.safetensors` likewise for every further optimizer;
* `ema.safetensors`: averaged weights, if the run keeps them;
* `random_state_<rank>.safetensors`: python's, numpy's, torch's and CUDA's generators of every process, and where it
  stands in a stream;
* `trainer_state.json`: counters, position in the data, scheduler, loss scaler, best metric, tracker id, the recipe, and
  the fingerprint of the training data;
* `checksums_<rank>.json`: SHA-256 of every file that a process wrote. A checkpoint that does not agree with them is
  set aside as `checkpoint-<step>.damaged`, and `latest` is the newest one that does.

No pickle anywhere. It is written as `checkpoint-<step>.partial`, flushed to the disk, and renamed; a run killed at any
moment leaves the earlier ones untouched and at most one `.partial` folder, which the next run removes. (With DeepSpeed
weights and optimizer are written by DeepSpeed, in its own format, into a subfolder.)
"""

import errno
import hashlib
import json
import logging
import os
import random
import shutil
from collections.abc import Callable, Mapping, Sequence
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any, cast

import numpy as np
import torch
from accelerate.utils import DistributedType
from safetensors import SafetensorError, safe_open
from safetensors.torch import load_file, save_file
from torch import nn
from torch.optim import Optimizer
from torch.optim.lr_scheduler import LRScheduler

from accelerate import Accelerator

from .optimization import ExponentialMovingAverage
from .protocols import CheckpointedEngine
from .resuming import CheckpointError, check_resumed

logger = logging.getLogger(__name__)

_PARTIAL, _REPLACED, _DAMAGED = ".partial", ".replaced", ".damaged"
_FORMAT = 2  # since then with checksums


@dataclass
class TrainerState:
    """The run's counters.

    Attributes:
        step: Updates of the optimizer done.
        samples: Samples consumed by all ranks together: the position in the endless sequence of `sampler`.
        epoch: Epoch of the next sample.
        batch_in_epoch: Batches of all ranks (micro-batches) done in that epoch.
        skipped: Unreadable samples skipped so far (on the main process).
        seconds: Wall-clock time spent, over all resumed parts.
        best_metric: Best value of `run.metric` so far.
        best_step: The step it was reached at.
        stale_evaluations: Evaluations since then.
        evaluations: Every evaluation's numbers with its step.
        tracker_run: Id under which trackers continue the run.
        world_size: Number of processes of the run that wrote it.
    """

    step: int = 0
    samples: int = 0
    epoch: int = 0
    batch_in_epoch: int = 0
    skipped: int = 0
    seconds: float = 0.0
    best_metric: float | None = None
    best_step: int | None = None
    stale_evaluations: int = 0
    evaluations: list[dict[str, float]] = field(default_factory=list)
    tracker_run: str = ""
    world_size: int = 1


def write_tensors(path: Path, tensors: Mapping[str, torch.Tensor], metadata: Mapping[str, Any] | None = None) -> None:
    """Writes tensors and JSON-able metadata to a safetensors file and flushes it to the disk."""
    contiguous = {name: tensor.detach().contiguous() for name, tensor in tensors.items()}
    save_file(contiguous, path, metadata={key: json.dumps(value) for key, value in (metadata or {}).items()})
    _flush(path)


def read_metadata(path: Path) -> dict[str, Any]:
    """Reads what `write_tensors` was given as metadata."""
    with safe_open(path, "pt") as file:
        return {key: json.loads(value) for key, value in (file.metadata() or {}).items()}


def write_json(path: Path, content: Any) -> None:
    """Writes JSON beside its final place, flushes it, and renames it there."""
    partial = path.with_name(path.name + _PARTIAL)
    partial.write_text(json.dumps(content, indent=2, allow_nan=True) + "\n", encoding="utf-8")
    _flush(partial)
    os.replace(partial, path)


def _flush(path: Path) -> None:
    """Waits until a file or folder is on the disk."""
    handle = os.open(path, os.O_RDONLY)
    try:
        os.fsync(handle)
    finally:
        os.close(handle)


def step_of(folder: Path) -> int:
    """Returns the step of a complete checkpoint's folder, -1 for any other folder."""
    name = folder.name
    return int(name[11:]) if name.startswith("checkpoint-") and name[11:].isdecimal() else -1


def complete_checkpoints(output_dir: Path) -> list[Path]:
    """Lists complete checkpoints, oldest first."""
    folders = [folder for folder in output_dir.glob("checkpoint-*") if step_of(folder) >= 0 and folder.is_dir()]
    return sorted(folders, key=step_of)


def refuse_other_run(output_dir: Path) -> None:
    """Refuses a folder with checkpoints for a run that does not go on from them.

    Raises:
        CheckpointError: There are some.
    """
    if old := complete_checkpoints(output_dir):
        raise CheckpointError(
            f"{output_dir} holds {old[-1].name} of another run. Use --resume_from_checkpoint latest to go on with it, "
            "or another --output_dir."
        )


def clean_up(output_dir: Path) -> None:
    """Removes what a killed run left: partial checkpoints; a checkpoint that was being replaced is put back."""
    for folder in output_dir.glob(f"checkpoint-*{_REPLACED}"):
        original = folder.with_name(folder.name.removesuffix(_REPLACED))
        if original.exists():
            shutil.rmtree(folder)
        else:
            os.rename(folder, original)
    for folder in output_dir.glob(f"checkpoint-*{_PARTIAL}"):
        logger.warning("Removing the incomplete checkpoint %s.", folder)
        shutil.rmtree(folder)


def file_checksum(path: Path) -> str:
    """Computes the SHA-256 of a file."""
    with open(path, "rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


def write_checksums(folder: Path, rank: int, names: Sequence[str]) -> None:
    """Writes the checksums of the files that a process wrote into a checkpoint."""
    files = {name: file_checksum(folder / name) for name in sorted(names)}
    write_json(folder / f"checksums_{rank}.json", {"files": files})


def checkpoint_problem(folder: Path) -> str | None:
    """Compares a checkpoint with its checksums; says what is wrong with it, None if nothing.

    Checkpoints of releases without checksums are only looked at for JSON that can be read.
    """
    try:
        state = json.loads((folder / "trainer_state.json").read_text(encoding="utf-8"))
        if not isinstance(state, dict) or not isinstance(state.get("step"), int) or "recipe" not in state:
            return "trainer_state.json holds no state of a run"
        if state.get("format", 1) < _FORMAT and not list(folder.glob("checksums_*.json")):
            return None
        for rank in range(state["world_size"]):
            path = folder / f"checksums_{rank}.json"
            for name, expected in json.loads(path.read_text(encoding="utf-8"))["files"].items():
                if not (folder / name).is_file():
                    return f"{name} is missing"
                if file_checksum(folder / name) != expected:
                    return f"{name} is not what was written"
    except (OSError, ValueError, KeyError, TypeError, AttributeError, RecursionError) as error:
        reason = str(error).splitlines()[0] if str(error) else type(error).__name__
        return f"a file is missing or cannot be read: {reason}"
    return None


def newest_sound_checkpoint(output_dir: Path) -> Path | None:
    """Returns the newest checkpoint that agrees with its checksums, None if there is no checkpoint at all.

    Damaged newer ones are named and set aside as `checkpoint-<step>.damaged`.

    Raises:
        CheckpointError: All are damaged.
    """
    problems: list[tuple[Path, str]] = []
    for folder in reversed(complete_checkpoints(output_dir)):
        problem = checkpoint_problem(folder)
        if problem is None:
            for damaged, reason in problems:
                aside = damaged.with_name(damaged.name + _DAMAGED)
                shutil.rmtree(aside, ignore_errors=True)
                os.rename(damaged, aside)
                logger.warning(
                    "%s is damaged (%s) and now called %s; going on from %s.", damaged, reason, aside.name, folder.name
                )
            return folder
        problems.append((folder, problem))
    if problems:
        listed = "; ".join(f"{folder.name}: {reason}" for folder, reason in problems)
        raise CheckpointError(
            f"Every checkpoint of {output_dir} is damaged ({listed}). Move them away and start the run again."
        )
    return None


def resolve_checkpoint(output_dir: Path, wanted: str) -> Path | None:
    """Finds the checkpoint to resume: `latest` is the newest sound one (None if there is none), else a folder.

    Raises:
        CheckpointError: The named folder is not a complete checkpoint or is damaged, or `output_dir` holds newer ones.
    """
    if wanted == "latest":
        return newest_sound_checkpoint(output_dir)
    checkpoints = complete_checkpoints(output_dir)
    for folder in (Path(wanted), output_dir / wanted):
        if step_of(folder) >= 0 and (folder / "trainer_state.json").is_file():
            newer = [other.name for other in checkpoints if step_of(other) > step_of(folder)]
            if newer:  # they would outlive the resumed run's own checkpoints and be taken for its latest
                raise CheckpointError(
                    f"{output_dir} holds {', '.join(newer)}, newer than {folder.name}. Move them away, or resume "
                    f"{folder} with another --output_dir."
                )
            problem = checkpoint_problem(folder)
            if problem is not None:
                raise CheckpointError(f"{folder} is damaged: {problem}. Resume from another one, or `latest`.")
            return folder
    names = ", ".join(folder.name for folder in checkpoints) or "none"
    raise CheckpointError(
        f"{wanted!r} is no complete checkpoint. In {output_dir}: {names}. Use one of them or `latest`."
    )


def rotate(output_dir: Path, keep_last: int, best_step: int | None) -> None:
    """Deletes all but the newest `keep_last` checkpoints and the one of `best_step`."""
    for folder in complete_checkpoints(output_dir)[:-keep_last]:
        if step_of(folder) != best_step:
            # Renamed first: a half-deleted folder must never look like a checkpoint.
            doomed = folder.with_name(folder.name + _PARTIAL)
            os.rename(folder, doomed)
            shutil.rmtree(doomed)


def write_checkpoint(
    output_dir: Path, step: int, write: Callable[[Path], None], accelerator: Accelerator, needed_bytes: int = 0
) -> Path:
    """Writes a checkpoint all or nothing; every rank calls it.

    Args:
        output_dir: Folder that holds the checkpoints.
        step: Its number.
        write: Writes this rank's files into the folder it is given, each flushed.
        accelerator: Used for the barriers.
        needed_bytes: Free space to ask for before anything is written.

    Raises:
        CheckpointError: Any rank could not write, for example for want of space; earlier checkpoints are intact.
    """
    final = output_dir / f"checkpoint-{step}"
    partial = final.with_name(final.name + _PARTIAL)

    def prepare() -> None:
        if not accelerator.is_main_process:
            return
        if partial.exists():
            shutil.rmtree(partial)
        partial.mkdir(parents=True)
        free = shutil.disk_usage(partial).free
        if free < needed_bytes:
            raise OSError(errno.ENOSPC, f"No space left: {needed_bytes / 1e6:.1f} MB needed, {free / 1e6:.1f} MB free")

    def publish() -> None:
        if accelerator.is_main_process:
            _publish(partial, final)

    for act in (prepare, lambda: write(partial), publish):
        failure: Exception | None = None
        try:
            act()
        except (OSError, SafetensorError) as error:
            failure = error
        if not _any_failed(accelerator, failure):
            continue
        if accelerator.is_main_process:
            shutil.rmtree(partial, ignore_errors=True)
        last = complete_checkpoints(output_dir)
        kept = f"The last good checkpoint is {last[-1]}" if last else "There is no earlier checkpoint"
        raise CheckpointError(
            f"Could not write {final}: {failure or 'another process failed to write its part'}. {kept}. "
            "Free some space (or lower run.keep_last) and go on with --resume_from_checkpoint latest."
        ) from failure
    return final


def _any_failed(accelerator: Accelerator, failure: Exception | None) -> bool:
    """Tells every rank whether one of them failed; also a barrier."""
    failed = torch.tensor(0.0 if failure is None else 1.0, device=accelerator.device)
    return bool(accelerator.reduce(failed, "sum").item() > 0)


def _publish(partial: Path, final: Path) -> None:
    """Makes a fully written folder the checkpoint."""
    _flush(partial)
    replaced = final.with_name(final.name + _REPLACED)
    if final.exists():
        os.rename(final, replaced)
    os.rename(partial, final)
    _flush(final.parent)
    if replaced.exists():
        shutil.rmtree(replaced)


# ---------------------------------------------------------------------------------------------------------------- parts


def bare_model(accelerator: Accelerator, model: nn.Module) -> nn.Module:
    """Returns the model below the wrappers of data parallelism and `torch.compile`; autocast in forward stays."""
    return accelerator.unwrap_model(model, keep_torch_compile=False)


def model_tensors(model: nn.Module) -> dict[str, torch.Tensor]:
    """Returns a model's weights and buffers by name, tied ones once (under the first name)."""
    tensors: dict[str, torch.Tensor] = {}
    seen: set[int] = set()
    for name, tensor in model.state_dict(keep_vars=True).items():
        if isinstance(tensor, torch.Tensor) and id(tensor) not in seen:
            seen.add(id(tensor))
            tensors[name] = tensor
    return tensors


def load_model_tensors(model: nn.Module, tensors: Mapping[str, torch.Tensor], source: str) -> None:
    """Copies weights and buffers into a model; raises CheckpointError on any difference of names or shapes."""
    expected = model_tensors(model)
    difference = sorted(set(expected) ^ set(tensors)) or [n for n in expected if expected[n].shape != tensors[n].shape]
    if difference:
        raise CheckpointError(
            f"{source} belongs to another model: {len(difference)} tensors differ, first {', '.join(difference[:5])}. "
            "Resume with the recipe that wrote it."
        )
    with torch.no_grad():
        for name, tensor in expected.items():
            tensor.copy_(tensors[name])


def flatten_optimizer_state(state: Mapping[str, Any]) -> tuple[dict[str, torch.Tensor], dict[str, Any]]:
    """Splits an optimizer's state dict into tensors by `<index>.<key>` and JSON-able rest."""
    tensors: dict[str, torch.Tensor] = {}
    scalars: dict[str, Any] = {}
    for index, entries in state["state"].items():
        for key, value in entries.items():
            (tensors if isinstance(value, torch.Tensor) else scalars)[f"{index}.{key}"] = value
    return tensors, {"scalars": scalars, "param_groups": state["param_groups"]}


def unflatten_optimizer_state(tensors: Mapping[str, torch.Tensor], rest: Mapping[str, Any]) -> dict[str, Any]:
    """Inverts `flatten_optimizer_state`."""
    state: dict[Any, dict[str, Any]] = {}
    for name, value in [*tensors.items(), *rest["scalars"].items()]:
        index, key = name.rsplit(".", 1)
        state.setdefault(int(index) if index.isdecimal() else index, {})[key] = value
    groups = [{key: tuple(v) if key == "betas" else v for key, v in group.items()} for group in rest["param_groups"]]
    return {"state": state, "param_groups": groups}


def random_state() -> tuple[dict[str, torch.Tensor], dict[str, Any]]:
    """Returns the state of this process's generators as tensors and JSON-able rest."""
    name, keys, position, has_gauss, gauss = cast(tuple, np.random.get_state(legacy=True))
    tensors = {"torch": torch.get_rng_state(), "numpy": torch.from_numpy(keys.astype(np.int64))}
    if torch.cuda.is_available():
        tensors["cuda"] = torch.cuda.get_rng_state()
    return tensors, {"python": random.getstate(), "numpy": [name, position, has_gauss, gauss]}


def restore_random_state(tensors: Mapping[str, torch.Tensor], rest: Mapping[str, Any]) -> None:
    """Inverts `random_state`."""
    version, words, gauss_next = rest["python"]
    random.setstate((version, tuple(words), gauss_next))
    name, position, has_gauss, gauss = rest["numpy"]
    np.random.set_state((name, tensors["numpy"].numpy().astype(np.uint32), position, has_gauss, gauss))
    torch.set_rng_state(tensors["torch"])
    if "cuda" in tensors and torch.cuda.is_available():
        torch.cuda.set_rng_state(tensors["cuda"])


@dataclass
class Checkpointer:
    """Saves and restores everything a run consists of.

    Attributes:
        output_dir: Folder of the run.
        accelerator: The run's accelerator.
        model: The prepared model.
        optimizer: The prepared optimizer.
        scheduler: The learning-rate schedule.
        ema: The moving average, if any.
        state: The counters; restored in place.
        recipe: The run's arguments as plain data, kept to refuse changes on resume that would not take effect.
        keep_last: Newest checkpoints to keep beside the best.
        more: Further optimizers with their schedules, by the name of their phase.
        stream: This rank's loader, if the data are a stream.
        data: Fingerprint of the training data; None if they have none.
        allow_changed_data: Whether a run goes on with other data than it began with.
    """

    output_dir: Path
    accelerator: Accelerator
    model: nn.Module
    optimizer: Any
    scheduler: LRScheduler
    ema: ExponentialMovingAverage | None
    state: TrainerState
    recipe: dict[str, Any]
    keep_last: int = 2
    more: dict[str, tuple[Any, LRScheduler]] = field(default_factory=dict)
    stream: Any = None
    data: dict[str, Any] | None = None
    allow_changed_data: bool = False

    @property
    def _sharded(self) -> bool:
        return self.accelerator.distributed_type == DistributedType.FSDP

    @property
    def _deepspeed(self) -> bool:
        return self.accelerator.distributed_type == DistributedType.DEEPSPEED

    @property
    def _torch_optimizer(self) -> Optimizer:
        return _below(self.optimizer)

    def save(self) -> Path:
        """Writes `checkpoint-<step>`, then deletes what the rotation does not keep."""
        all_optimizers = {"": self._torch_optimizer, **{name: _below(one) for name, (one, _) in self.more.items()}}
        empty: dict[str, Any] = {"state": {}, "param_groups": []}
        if self._sharded:  # gathering is collective, so before the ranks' ways part
            from torch.distributed.checkpoint.state_dict import StateDictOptions, get_state_dict

            options = StateDictOptions(full_state_dict=True, cpu_offload=True)
            states = {}
            for name, optimizer in all_optimizers.items():
                gathered, state = get_state_dict(self.model, optimizer, options=options)
                states[name] = state or empty  # only rank 0 gets it
            weights = cast(dict[str, torch.Tensor], gathered)
        else:
            weights = model_tensors(bare_model(self.accelerator, self.model))
            states = {
                name: empty if self._deepspeed else optimizer.state_dict() for name, optimizer in all_optimizers.items()
            }
        averages = (
            {name: _full(tensor) for name, tensor in self.ema.state_dict().items()} if self.ema is not None else {}
        )
        optimizers = {_optimizer_file(name): flatten_optimizer_state(state) for name, state in states.items()}

        def write(folder: Path) -> None:
            if self.accelerator.is_main_process:
                write_tensors(folder / "model.safetensors", weights)
                for file, (tensors, rest) in optimizers.items():
                    write_tensors(folder / file, tensors, rest)
                if self.ema is not None:
                    write_tensors(folder / "ema.safetensors", averages, {"updates": self.ema.updates})
                write_json(folder / "trainer_state.json", self._plain_state())
            generators, plain = random_state()
            if self.stream is not None:
                plain["stream"] = self.stream.state_dict()
            rank = self.accelerator.process_index
            own = f"random_state_{rank}.safetensors"
            write_tensors(folder / own, generators, plain)
            names = [own]
            if self.accelerator.is_main_process:
                names += ["model.safetensors", *optimizers, "trainer_state.json"]
                names += ["ema.safetensors"] if self.ema is not None else []
            write_checksums(folder, rank, names)
            if self._deepspeed:
                cast(CheckpointedEngine, self.model).save_checkpoint(str(folder / "deepspeed"))

        parts = (weights, averages, *(tensors for tensors, _ in optimizers.values()))
        size = sum(tensor.numel() * tensor.element_size() for part in parts for tensor in part.values())
        folder = write_checkpoint(self.output_dir, self.state.step, write, self.accelerator, needed_bytes=size)
        if self.accelerator.is_main_process:
            rotate(self.output_dir, self.keep_last, self.state.best_step)
        self.accelerator.wait_for_everyone()
        return folder

    def _plain_state(self) -> dict[str, Any]:
        scaler = getattr(self.accelerator, "scaler", None)
        return {
            **asdict(self.state),
            "scheduler": _schedule_state(self.scheduler),
            "more_schedulers": {name: _schedule_state(scheduler) for name, (_, scheduler) in self.more.items()},
            "scaler": scaler.state_dict() if scaler is not None else {},
            "recipe": self.recipe,
            "data": self.data,
            "format": _FORMAT,
        }

    def load(self, folder: Path) -> None:
        """Restores the run from a checkpoint; every rank calls it.

        Raises:
            CheckpointError: The checkpoint belongs to another model or optimizer, or is damaged.
        """
        try:
            plain = json.loads((folder / "trainer_state.json").read_text(encoding="utf-8"))
            best_counts = check_resumed(
                folder,
                plain,
                self.recipe,
                self.data,
                self.accelerator,
                self.allow_changed_data,
            )
            self._load_weights(folder)
            if self.ema is not None:
                path = folder / "ema.safetensors"
                if not path.is_file():
                    raise CheckpointError(
                        f"{folder} holds no moving average; unset run.ema_decay or resume its own recipe."
                    )
                self.ema.load_state_dict(load_file(path), read_metadata(path)["updates"])
        except CheckpointError:
            raise
        except (ValueError, SafetensorError, OSError, KeyError, TypeError) as error:
            raise CheckpointError(f"{folder} is damaged: {error}. Delete it and resume from an earlier one.") from error
        self.scheduler.load_state_dict({**self.scheduler.state_dict(), **plain["scheduler"]})
        for name, (_, scheduler) in self.more.items():
            scheduler.load_state_dict({**scheduler.state_dict(), **plain["more_schedulers"][name]})
        scaler = getattr(self.accelerator, "scaler", None)
        if scaler is not None and plain["scaler"]:
            scaler.load_state_dict(plain["scaler"])
        for name in asdict(self.state):
            setattr(self.state, name, plain[name])
        if not best_counts:
            self.state.best_metric, self.state.best_step, self.state.stale_evaluations = None, None, 0
        self._restore_randomness(folder)

    def _load_weights(self, folder: Path) -> None:
        if self._deepspeed:
            cast(CheckpointedEngine, self.model).load_checkpoint(str(folder / "deepspeed"))
            return
        weights = load_file(folder / "model.safetensors")
        optimizers = {"": self._torch_optimizer, **{name: _below(one) for name, (one, _) in self.more.items()}}
        present = {path.name for path in folder.glob("optimizer*.safetensors")}
        if present != {_optimizer_file(name) for name in optimizers}:
            raise CheckpointError(
                f"{folder} has {len(present)} optimizers and this run {len(optimizers)}, or they have other names. "
                "Resume with the phases that wrote it."
            )
        states = {name: _read_optimizer(folder / _optimizer_file(name)) for name in optimizers}
        if self._sharded:
            from torch.distributed.checkpoint.state_dict import StateDictOptions, set_state_dict

            options = StateDictOptions(full_state_dict=True)
            for name, optimizer in optimizers.items():
                set_state_dict(
                    self.model,
                    optimizer,
                    model_state_dict=cast(dict, weights),
                    optim_state_dict=states[name],
                    options=options,
                )
            return
        load_model_tensors(bare_model(self.accelerator, self.model), weights, str(folder))
        for name, optimizer in optimizers.items():
            _restore_optimizer(optimizer, states[name], folder)

    def _restore_randomness(self, folder: Path) -> None:
        path = folder / f"random_state_{self.accelerator.process_index}.safetensors"
        if self.stream is not None:
            if not path.is_file() or "stream" not in (plain := read_metadata(path)):
                raise CheckpointError(
                    f"{folder} was written by {self.state.world_size} process(es) and holds no position of the stream "
                    "for this one; a stream resumes with the same numbers of processes and workers only."
                )
            try:
                self.stream.load_state_dict(plain["stream"])
            except ValueError as error:
                raise CheckpointError(f"{folder}: {error}") from error
        if self.state.world_size == self.accelerator.num_processes:
            restore_random_state(load_file(path), read_metadata(path))
        else:
            logger.warning(
                "%s was written by %d processes, this run has %d: the data go on exactly, dropout is seeded anew.",
                folder.name,
                self.state.world_size,
                self.accelerator.num_processes,
            )
        self.state.world_size = self.accelerator.num_processes


def _below(optimizer: Any) -> Optimizer:
    """Returns torch's optimizer below accelerate's wrapper."""
    return optimizer.optimizer if hasattr(optimizer, "optimizer") else optimizer


def _optimizer_file(phase: str) -> str:
    return f"optimizer_{phase}.safetensors" if phase else "optimizer.safetensors"


def _schedule_state(scheduler: LRScheduler) -> dict[str, Any]:
    return {key: value for key, value in scheduler.state_dict().items() if key != "lr_lambdas"}


def _read_optimizer(path: Path) -> dict[str, Any]:
    return unflatten_optimizer_state(load_file(path), read_metadata(path))


def _restore_optimizer(optimizer: Optimizer, state: dict[str, Any], folder: Path) -> None:
    saved = [group.get("parameter_names") for group in state["param_groups"]]
    current = [group.get("parameter_names") for group in optimizer.param_groups]
    if saved != current:
        raise CheckpointError(
            f"{folder} has {len(saved)} parameter groups that differ from this run's {len(current)}. "
            "Resume with the optimizer section that wrote it."
        )
    optimizer.load_state_dict(state)


def _full(tensor: torch.Tensor) -> torch.Tensor:
    """Gathers a sharded tensor; others as they are."""
    return tensor.full_tensor() if hasattr(tensor, "full_tensor") else tensor
