# Copyright 2026 The hfseg authors. Licensed under the Apache License, Version 2.0.
"""The one training loop.

keys, batches = the next micro-batches            sampler: same order for any ranks, workers, resumes
counts        = targets in them, over all ranks   normalization: accumulation equals the big batch
loss          = model(**batch).loss               scaled, backward; gradients synchronized at the last one
check         = loss and gradients are finite     else stop, before weights are touched, and name the samples
update        = clip, optimizer, schedule, EMA    phases: several optimizers take turns
every n       = log, evaluate, keep the best, save a checkpoint
"""

import logging
import math
import signal
import time
from collections.abc import Callable, Iterable, Mapping, Sequence
from contextlib import nullcontext
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any, cast

import torch
from accelerate.utils import (
    DistributedType,
    DynamoBackend,
    TorchDynamoPlugin,
    broadcast_object_list,
    gather_object,
    send_to_device,
    set_seed,
)
from safetensors import SafetensorError
from safetensors.torch import load_file
from torch import nn

from accelerate import Accelerator, DistributedDataParallelKwargs

from ..results.drawing import image_grid
from ..results.incomplete import told_once
from .arguments import RunArguments, TrainingArguments
from .checkpointing import (
    Checkpointer,
    CheckpointError,
    TrainerState,
    bare_model,
    clean_up,
    load_model_tensors,
    refuse_other_run,
    resolve_checkpoint,
    write_json,
)
from .evaluation import learns_nothing
from .normalization import LossNormalizer, LossScaling, accepted_names
from .optimization import ExponentialMovingAverage
from .phases import Phase, create_phases, only
from .progress import Progress
from .protocols import AccumulationAware, MemorySaving, PretrainedSaving
from .resuming import data_fingerprint
from .sampler import EndlessBatchSampler, SampleKey, derived_seed, isolated_randomness, key_name, training_loader
from .sharding import precision_of, sharding_units
from .signals import StopSignals
from .stream import StreamLoader, is_stream
from .synchronization import synchronize_batch_norm

logger = logging.getLogger(__name__)

CARD_WIDTH = 1000  # pixels of the image in a card
EvaluateFunction = Callable[[nn.Module], Mapping[str, float]]
OverlayFunction = Callable[[nn.Module, int], Sequence[Any]]
SaveFunction = Callable[[nn.Module, Path, Mapping[str, torch.Tensor]], None]


class TrainingStopped(RuntimeError):
    """A signal ended the run after a whole update, and its checkpoint is written."""

    def __init__(self, message: str, signal_number: int) -> None:
        super().__init__(message)
        self.signal_number = signal_number


class NonFiniteLossError(RuntimeError):
    """The loss or its gradient is NaN or infinite; the weights were not touched."""


@dataclass
class TrainingResult:
    """What a run came to.

    Attributes:
        state: Final counters, with all evaluations.
        metrics: The last evaluation's numbers (of the weights that were saved), empty without evaluation.
        loss: Mean training loss of the last update.
        samples_per_second: Over this part of the run, evaluation and saving included.
        stopped_by: `steps`, `seconds` or `patience`.
    """

    state: TrainerState
    metrics: dict[str, float]
    loss: float
    samples_per_second: float
    stopped_by: str


def create_accelerator(
    run: RunArguments, output_dir: str | Path | None = None, several_phases: bool = False
) -> Accelerator:
    """Builds the Accelerator of a run; what `accelerate launch` configured stays unless the recipe says otherwise."""
    find_unused = run.find_unused_parameters or several_phases  # a phase leaves the others' weights alone
    accelerator = Accelerator(
        mixed_precision=run.mixed_precision,
        log_with=run.trackers or None,
        project_dir=str(output_dir) if output_dir is not None else None,
        dynamo_plugin=TorchDynamoPlugin(backend=DynamoBackend.INDUCTOR) if run.compile else None,
        kwargs_handlers=[DistributedDataParallelKwargs(find_unused_parameters=find_unused)],
        # The loop accumulates itself; only DeepSpeed's engine has to know.
        gradient_accumulation_steps=1,
    )
    return accelerator


def total_steps(run: RunArguments, dataset_length: int | None, global_batch: int) -> int:
    """Computes the updates of a run from `max_steps` or `epochs`.

    Raises:
        ValueError: Both or neither are given; or `epochs`, and the length of the data is not known.
    """
    if (run.max_steps is None) == (run.epochs is None):
        raise ValueError(
            f"Give exactly one of run.max_steps and run.epochs; they are {run.max_steps} and {run.epochs}."
        )
    if run.max_steps is not None:
        return run.max_steps
    if dataset_length is None:
        raise ValueError(f"run.epochs is {run.epochs}, but the stream's length is not known; give run.max_steps.")
    return max(1, math.ceil((run.epochs or 0) * dataset_length / global_batch))


def train(
    model: nn.Module,
    train_dataset: Any,
    collate: Callable[[list], Mapping[str, Any]],
    arguments: TrainingArguments,
    *,
    output_dir: str | Path,
    evaluate_fn: EvaluateFunction | None = None,
    image_processor: Any = None,
    loss_normalizer: LossNormalizer | None = None,
    save_fn: SaveFunction | None = None,
    overlay_fn: OverlayFunction | None = None,
    resume_from_checkpoint: str | None = None,
    accelerator: Accelerator | None = None,
    allow_changed_data: bool = False,
) -> TrainingResult:
    """Trains a model and leaves a `from_pretrained` folder with `training_args.json` and `metrics.json`.

    Args:
        model: `model(**batch)` returns an output with a scalar `loss` and, optionally, its parts in `loss_dict`.
        train_dataset: Map-style dataset, or a stream (`hfseg.data.readers.tables.TableStream`); randomness inside
            `dataset[index]` (python, numpy or torch) is made reproducible. If it has `sample_id(index)`, errors name
            samples by it.
        collate: Turns a list of samples into the keyword arguments of `model`; keys that `forward` does not take are
            not passed.
        arguments: The recipe; the sections `data` (batch size, workers), `optimizer`, `schedule` and `run` are used.
        output_dir: Folder of checkpoints and of the result.
        evaluate_fn: Called on every rank with the unwrapped model in eval mode (averaged weights, if kept) under
            `no_grad`; returns numbers by name, the main process's count.
        image_processor: Saved beside the model; anything with `save_pretrained`.
        loss_normalizer: Overrides `model.loss_normalizer`; see `normalization`.
        save_fn: Writes the trained model, called on the main process with the unwrapped model, the folder and the
            weights by name; the default calls `model.save_pretrained`, if there is one.
        overlay_fn: Draws held-out samples for the trackers, called like `evaluate_fn` with the model and their number
            (on the main process only, unless weights are sharded); returns PIL images.
        resume_from_checkpoint: `latest` (starts anew if there is none) or a checkpoint folder.
        accelerator: Used instead of one built from `arguments.run`.
        allow_changed_data: Resume although the training data are not those the run began with.

    Raises:
        TrainingStopped: SIGTERM or Ctrl-C; the update was finished and a checkpoint written.
        NonFiniteLossError: The loss is not finite.
        CheckpointError: A checkpoint could not be written or read.
        ValueError: The recipe contradicts itself or the dataset is empty.
    """
    accelerator = accelerator or create_accelerator(arguments.run, output_dir, len(arguments.phases) > 1)
    run = _Run(model, train_dataset, collate, arguments, Path(output_dir), evaluate_fn, loss_normalizer, accelerator)
    run.save_fn, run.overlay_fn = save_fn, overlay_fn
    run.checkpointer.allow_changed_data = allow_changed_data
    run.start(resume_from_checkpoint)
    stopped_by = run.loop()
    return run.finish(image_processor, stopped_by)


class _Run:
    """One run's objects and the steps of the loop."""

    def __init__(
        self,
        model: nn.Module,
        dataset: Any,
        collate: Callable[[list], Mapping[str, Any]],
        arguments: TrainingArguments,
        output_dir: Path,
        evaluate_fn: EvaluateFunction | None,
        loss_normalizer: LossNormalizer | None,
        accelerator: Accelerator,
    ) -> None:
        self.arguments, self.output_dir, self.accelerator = arguments, output_dir, accelerator
        self.dataset, self.collate, self.evaluate_fn = dataset, collate, evaluate_fn
        options = arguments.run
        self.ranks, self.micro_batches = accelerator.num_processes, options.gradient_accumulation_steps
        self.global_batch = arguments.data.batch_size * self.ranks * self.micro_batches
        options.check_global_batch(arguments.data.batch_size, self.ranks)
        # None: a stream that does not know
        self.length: int | None = dataset.num_samples if is_stream(dataset) else len(dataset)
        self.max_steps = total_steps(options, self.length, self.global_batch)
        set_seed(derived_seed(options.seed, accelerator.process_index) % 2**31)

        if options.gradient_checkpointing:
            cast(MemorySaving, model).gradient_checkpointing_enable({"use_reentrant": False})
        if options.sync_batch_norm and accelerator.num_processes > 1:
            model = synchronize_batch_norm(model, accelerator.device)
        if options.channels_last:
            model.to(memory_format=torch.channels_last)
        # Read before `prepare`, which may wrap forward.
        self.scaling = LossScaling.of(model, loss_normalizer)
        self.accepted = accepted_names(model)
        self.phases = create_phases(model, arguments, self.max_steps)
        if len(self.phases) > 1 and accelerator.distributed_type == DistributedType.DEEPSPEED:
            raise ValueError(
                f"The recipe has {len(self.phases)} phases, and DeepSpeed's engine holds one optimizer; use data "
                "parallelism or FSDP2 (scripts/accelerate/ddp.yaml, fsdp2.yaml)."
            )
        if accelerator.distributed_type == DistributedType.DEEPSPEED:
            plugin = accelerator.state.deepspeed_plugin
            plugin.deepspeed_config["train_micro_batch_size_per_gpu"] = arguments.data.batch_size
            plugin.deepspeed_config["gradient_accumulation_steps"] = self.micro_batches
            accelerator.gradient_accumulation_steps = self.micro_batches
            plugin.deepspeed_config["gradient_clipping"] = arguments.optimizer.clip_norm or 0.0
        with sharding_units(accelerator, model):
            self.model, *optimizers = accelerator.prepare(model.train(), *(phase.optimizer for phase in self.phases))
        for phase, optimizer in zip(self.phases, optimizers):
            phase.optimizer = optimizer
            if accelerator.distributed_type == DistributedType.FSDP:  # sharded weights are new parameters
                phase.parameters = [weight for group in optimizer.param_groups for weight in group["params"]]
        self.bare_model = bare_model(accelerator, self.model)
        self.ema = ExponentialMovingAverage(self.bare_model, options.ema_decay) if options.ema_decay else None
        self.state = TrainerState(world_size=self.ranks)
        self.stream = self._stream_loader() if is_stream(dataset) else None
        self.checkpointer = Checkpointer(
            output_dir=output_dir,
            accelerator=accelerator,
            model=self.model,
            optimizer=self.phases[0].optimizer,
            scheduler=self.phases[0].scheduler,
            more={phase.name: (phase.optimizer, phase.scheduler) for phase in self.phases[1:]},
            ema=self.ema,
            state=self.state,
            recipe=arguments.to_dict(),
            keep_last=options.keep_last,
            stream=self.stream,
            data=None if self.stream is not None else data_fingerprint(dataset),
        )
        self.stop = StopSignals()
        self.stopping = False
        self.save_fn: SaveFunction | None = None
        self.overlay_fn: OverlayFunction | None = None
        self.last_checkpoint: Path | None = None
        self.loss = math.nan
        self.told_nothing_learned = False

    # ------------------------------------------------------------------------------------------------------- the loop

    def start(self, resume_from_checkpoint: str | None) -> None:
        """Restores a checkpoint if asked to, and opens trackers and data."""
        self._on_main(self._prepare_folder)
        if resume_from_checkpoint is None:
            refuse_other_run(self.output_dir)
        if resume_from_checkpoint is not None:
            self.last_checkpoint = self._on_main(lambda: resolve_checkpoint(self.output_dir, resume_from_checkpoint))
            if self.last_checkpoint is not None:
                self.checkpointer.load(self.last_checkpoint)
        self.started, self.first_sample = time.monotonic() - self.state.seconds, self.state.samples
        self.began = time.monotonic()
        self._start_trackers()
        self.progress = Progress(self.accelerator, self.max_steps, self.state.step, self.arguments.run.log_every)
        if self.last_checkpoint is not None:
            self.progress.say(f"Resuming {self.last_checkpoint} at step {self.state.step} of {self.max_steps}.")

    def _prepare_folder(self) -> None:
        try:
            self.output_dir.mkdir(parents=True, exist_ok=True)
            clean_up(self.output_dir)
        except OSError as error:
            raise CheckpointError(
                f"--output_dir {self.output_dir} cannot be made or written ({error.strerror or error}): name a folder "
                "that can."
            ) from error

    def _on_main(self, act: Callable[[], Any]) -> Any:
        """Does something on the main process; every rank gets what it returns, or its CheckpointError."""
        outcome: list[Any] = [None, None]
        if self.accelerator.is_main_process:
            try:
                outcome[0] = act()
            except CheckpointError as error:
                outcome[1] = str(error)
        result, failure = broadcast_object_list(outcome)
        if failure is not None:
            raise CheckpointError(failure)
        return result

    def _start_trackers(self) -> None:
        if not self.arguments.run.trackers:
            return
        if not self.state.tracker_run:
            name = [f"{self.output_dir.name}-{time.strftime('%Y%m%d-%H%M%S')}"]
            self.state.tracker_run = broadcast_object_list(name)[0]
        run_id = self.state.tracker_run
        flat = {
            f"{section}.{key}": value if isinstance(value, (int, float, str, bool)) else str(value)
            for section, values in self.arguments.to_dict().items()
            for key, value in (values.items() if isinstance(values, dict) else [("all", values)])
        }
        init = {
            "wandb": {"id": run_id, "name": run_id, "resume": "allow"},
            "trackio": {"name": run_id, "resume": "allow"},
        }
        self.accelerator.init_trackers(self.arguments.run.project, config=flat, init_kwargs=init)

    def loop(self) -> str:
        """Trains until the steps, the seconds or the patience are used up; returns which."""
        with self.stop:
            stopped_by = self._loop()
        self.progress.close()
        return stopped_by

    def _loop(self) -> str:
        options, state = self.arguments.run, self.state
        stream = iter(self.stream if self.stream is not None else self._keyed_loader())
        while state.step < self.max_steps:
            out_of_time = self.update([next(stream) for _ in range(self.micro_batches)])
            finished = out_of_time or state.step == self.max_steps
            if self.stopping and not finished:
                self._stop()
            improved = self._due(options.evaluate_every, finished) and self.evaluate()
            impatient = options.patience is not None and state.stale_evaluations >= options.patience
            finished = finished or impatient
            if improved or self._due(options.save_every, finished):
                state.seconds = time.monotonic() - self.started
                self.last_checkpoint = self.checkpointer.save()
            if finished:
                return "seconds" if out_of_time else "patience" if impatient else "steps"
        return "steps"

    def _stop(self) -> None:
        """Saves the run where it stands and ends it.

        Raises:
            TrainingStopped: Always.
        """
        state = self.state
        if self._due(self.arguments.run.evaluate_every, False):  # as the run that goes on would have
            self.evaluate()
        state.seconds = time.monotonic() - self.started
        folder = self.checkpointer.save()
        self.progress.close()
        number = self.stop.number or signal.SIGTERM
        raise TrainingStopped(
            f"Stopped by {signal.Signals(number).name} at step {state.step} of {self.max_steps}; {folder} is written. "
            "Go on with the same command and --resume_from_checkpoint latest.",
            number,
        )

    def _keyed_loader(self) -> Iterable:
        """Builds the loader of a map-style dataset, from where the run stands."""
        options, data, state = self.arguments.run, self.arguments.data, self.state
        sampler = EndlessBatchSampler(
            len(self.dataset),
            data.batch_size,
            seed=options.seed,
            rank=self.accelerator.process_index,
            world_size=self.ranks,
            start=state.samples,
            batches=max(self.max_steps - state.step, 0) * self.micro_batches,
            shuffle=data.shuffle,
        )
        return training_loader(
            self.dataset,
            self.collate,
            sampler,
            num_workers=data.num_workers,
            pin_memory=self.accelerator.device.type == "cuda",
            on_error=data.on_error,
        )

    def _stream_loader(self) -> StreamLoader:
        """Builds the loader of a stream; a resume puts it where it stood."""
        data = self.arguments.data
        return StreamLoader(
            self.dataset,
            self.collate,
            data.batch_size,
            seed=self.arguments.run.seed,
            rank=self.accelerator.process_index,
            ranks=self.ranks,
            num_workers=data.num_workers,
            buffer=data.shuffle_buffer if data.shuffle else 1,
            on_error=data.on_error,
            pin_memory=self.accelerator.device.type == "cuda",
        )

    def _due(self, every: int | None, finished: bool) -> bool:
        return finished or (every is not None and self.state.step % every == 0)

    def update(self, keyed_batches: list[tuple[list[SampleKey], Mapping[str, Any]]]) -> bool:
        """Does one update of the weights; returns whether the time is used up."""
        accelerator, state = self.accelerator, self.state
        keys, batches = zip(*keyed_batches)
        factors = self.scaling.factors(list(batches), self._sum_over_ranks, self.ranks, accelerator.device)
        if hasattr(self.bare_model, "accumulation_inputs"):  # what a micro-batch has to know of the others
            aware = cast(AccumulationAware, self.bare_model)
            known = aware.accumulation_inputs(list(batches), self.model, accelerator.device)
            factors = [({**extra, **more}, factor) for (extra, factor), more in zip(factors, known)]
        budget = self.arguments.run.max_seconds
        out_of_time = budget is not None and time.monotonic() - self.started >= budget
        numbers: dict[str, float] = {}
        stepped = False
        for phase in self.phases:
            if phase.due(state.step):
                with only(phase, self.phases):
                    measured, skipped, out_of_time = self._update_phase(phase, keys, batches, factors, out_of_time)
                stepped = stepped or not skipped
                numbers |= (
                    {f"{phase.name}/{name}": value for name, value in measured.items()} if phase.name else measured
                )
        if self.phases[0].name and f"{self.phases[0].name}/loss" in numbers:
            self.loss = numbers[f"{self.phases[0].name}/loss"]
        numbers = {"loss": self.loss, **numbers}
        if self.ema is not None and stepped:
            self.ema.update(self.bare_model)
        state.step += 1
        state.samples += self.global_batch
        state.skipped += sum(key.skipped for batch in keys for key in batch)
        if self.stream is not None:
            state.epoch = keys[-1][-1].epoch
        else:
            state.epoch, offset = divmod(state.samples, len(self.dataset))
            state.batch_in_epoch = offset // (self.arguments.data.batch_size * self.ranks)
        if state.skipped:
            numbers["skipped_samples"] = state.skipped
        epoch = state.samples / self.length if self.length else float(state.epoch)
        self.progress.update(state.step, self.global_batch, {**numbers, "epoch": epoch})
        return out_of_time

    def _update_phase(
        self, phase: Phase, keys: Any, batches: Any, factors: Any, out_of_time: bool
    ) -> tuple[dict[str, float], bool, bool]:
        """Moves one phase's weights.

        Returns:
            Loss, its parts, norm of the gradient and learning rate; whether the loss scaler skipped the step; whether
            any rank is out of time.
        """
        accelerator = self.accelerator
        losses: list[torch.Tensor] = []
        parts: dict[str, torch.Tensor] = {}
        for number, (batch, (extra, factor)) in enumerate(zip(batches, factors), start=1):
            last = number == len(batches)
            accelerator.gradient_state._set_sync_gradients(last)
            with nullcontext() if last else accelerator.no_sync(self.model):
                inputs = {name: value for name, value in batch.items() if name in self.accepted}
                inputs = send_to_device(inputs, accelerator.device, non_blocking=True)
                with precision_of(accelerator):
                    outputs = self.model(**inputs, **extra, **phase.inputs)
                loss = outputs["loss"] * factor
                self._backward(loss)
            losses.append(loss.detach().float())
            for name, value in (outputs.get("loss_dict") or {}).items():
                parts[name] = parts.get(name, 0) + value.detach().float() * factor
        # Norm of the whole gradient; an infinite limit leaves it as it is.
        limit = phase.clip_norm if phase.clip_norm is not None else math.inf
        parameters = phase.parameters if len(self.phases) > 1 else self.model.parameters()
        norm = accelerator.clip_grad_norm_(parameters, limit)
        norm = norm.full_tensor() if hasattr(norm, "full_tensor") else norm

        # The one wait for the device per update.
        local = torch.stack([torch.stack(losses).sum(), *parts.values()])
        flags = torch.tensor([float(out_of_time), float(self.stop.number is not None)], device=local.device)
        *values, any_out_of_time, any_stopped = accelerator.reduce(torch.cat([local, flags]), "mean").tolist()
        self.stopping = self.stopping or any_stopped > 0
        self.loss = values[0]
        norm = float(norm) if norm is not None else 0.0
        scaled = getattr(accelerator, "scaler", None) is not None  # the scaler skips overflowing updates itself
        if not math.isfinite(self.loss) or not (scaled or math.isfinite(norm)):
            self._abort(keys, losses, norm)

        rate = phase.scheduler.get_last_lr()[0]
        phase.optimizer.step()
        skipped = bool(getattr(phase.optimizer, "step_was_skipped", False))
        if not skipped:
            phase.scheduler.step()
        phase.optimizer.zero_grad()
        measured = {"loss": self.loss, **dict(zip(parts, values[1:])), "gradient_norm": norm, "learning_rate": rate}
        return measured, skipped, any_out_of_time > 0

    def _sum_over_ranks(self, tensor: torch.Tensor) -> torch.Tensor:
        return self.accelerator.reduce(tensor, "sum")

    def _backward(self, loss: torch.Tensor) -> None:
        if self.accelerator.distributed_type == DistributedType.DEEPSPEED:
            self.accelerator.backward(loss, scale_wrt_gas=False)
        else:
            self.accelerator.backward(loss)

    def _abort(self, keys: tuple[list[SampleKey], ...], losses: list[torch.Tensor], norm: float) -> None:
        """Raises NonFiniteLossError on every rank, naming the samples of all ranks' bad micro-batches."""
        finite = [bool(torch.isfinite(loss)) for loss in losses]
        names = [[key_name(self.dataset, key) for key in batch] for batch in keys]
        bad = [group for group, good in zip(names, finite) if not good]
        groups = gather_object(bad)
        what = f"The loss is {self.loss}" if groups else f"The loss is finite but the gradient's norm is {norm}"
        if not groups:
            groups = gather_object(names)
        listed = " | ".join(", ".join(group) for group in groups)
        last = (
            f"The last checkpoint is {self.last_checkpoint}" if self.last_checkpoint else "There is no checkpoint yet"
        )
        self.progress.close()
        raise NonFiniteLossError(
            f"{what} at step {self.state.step + 1} for the samples {listed}. The weights were not updated. {last}. "
            "Check these samples (empty or corrupt targets?), lower optimizer.learning_rate, set optimizer.clip_norm, "
            "or use bf16 instead of fp16."
        )

    # ------------------------------------------------------------------------------------------- evaluation and the end

    def evaluate(self) -> bool:
        """Evaluates, logs, and returns whether `run.metric` is the best so far."""
        if self.evaluate_fn is None:
            return False
        options, state = self.arguments.run, self.state
        averaged = self.ema.applied_to(self.bare_model) if self.ema is not None else nullcontext()
        self.bare_model.eval()
        randomness, precision = isolated_randomness(derived_seed(options.seed, 2)), precision_of(self.accelerator)
        with averaged, torch.no_grad(), randomness, precision, told_once():
            measured = {name: float(value) for name, value in self.evaluate_fn(self.bare_model).items()}
            self._show_samples()
        self.model.train()
        measured = broadcast_object_list([measured])[0]  # ranks must agree on what is best
        state.evaluations.append({"step": state.step, **measured})
        self.accelerator.log({f"eval/{name}": value for name, value in measured.items()}, step=state.step)
        self.progress.say(f"step {state.step}: " + ", ".join(f"{name} {value:.4g}" for name, value in measured.items()))
        if not self.told_nothing_learned and 10 * state.step >= self.max_steps:
            self.told_nothing_learned = self._tell_nothing_learned(measured)
        if options.metric is None:
            return False
        if options.metric not in measured:
            raise ValueError(
                f"run.metric is {options.metric!r}; the evaluation gives {', '.join(measured) or 'nothing'}."
            )
        value, best = measured[options.metric], state.best_metric
        improved = best is None or (value > best if options.greater_is_better else value < best)
        if improved and math.isfinite(value):
            state.best_metric, state.best_step, state.stale_evaluations = value, state.step, 0
            return True
        if value != 0 or not options.greater_is_better:  # of 0 nothing has begun that could have stopped
            state.stale_evaluations += 1
        return False

    def _tell_nothing_learned(self, measured: Mapping[str, float]) -> bool:
        """Says it if a tenth of the run has brought no more than a guess would; returns whether it did."""
        classes = getattr(getattr(self.bare_model, "config", None), "num_labels", None)
        metric = learns_nothing(measured, classes)
        if metric is not None:
            self.progress.say(
                f"{metric} is {measured[metric]:.3g} after {self.state.step} of {self.max_steps} updates, no more than "
                "one class everywhere can have: nothing is learned yet. If it stays so: look at labels on their images "
                "(hfseg evaluate ... --overlays), give objects more pixels (model.processor.size, and sizes in "
                "data.transforms), start from pre-trained weights (model.backbone, model.pretrained), lower "
                "optimizer.learning_rate, or train longer (run.max_steps)."
            )
        return metric is not None

    def _show_samples(self) -> None:
        """Draws held-out samples for the trackers."""
        sharded = self.accelerator.distributed_type == DistributedType.FSDP  # then a forward needs all ranks
        count = self.arguments.run.log_images
        if self.overlay_fn is None or not self.accelerator.trackers or not count:
            return
        if sharded or self.accelerator.is_main_process:
            self.progress.show(self.overlay_fn(self.bare_model, count), self.state.step)

    def finish(self, image_processor: Any, stopped_by: str) -> TrainingResult:
        """Writes the `from_pretrained` folder, `training_args.json` and `metrics.json`."""
        state, accelerator = self.state, self.accelerator
        elapsed = max(time.monotonic() - self.began, 1e-9)
        speed = (state.samples - self.first_sample) / elapsed
        final_step = state.step
        with self.ema.applied_to(self.bare_model) if self.ema is not None else nullcontext():
            best = state.best_step
            if self.arguments.run.final_weights == "best" and best is not None and best != state.step:
                final_step = int(best)
                self._load_final(self.output_dir / f"checkpoint-{final_step}")
            self._save_model()
            self._draw_card_images()
        metrics = next((entry for entry in reversed(state.evaluations) if entry["step"] == final_step), {})
        metrics = {name: value for name, value in metrics.items() if name != "step"}
        result = TrainingResult(state, metrics, self.loss, speed, stopped_by)
        if accelerator.is_main_process:
            if image_processor is not None:
                image_processor.save_pretrained(self.output_dir)
            write_json(self.output_dir / "training_args.json", self.arguments.to_dict())
            write_json(
                self.output_dir / "metrics.json",
                {
                    "step": final_step,
                    "metrics": metrics,
                    "loss": self.loss,
                    "samples_per_second": speed,
                    "stopped_by": stopped_by,
                    "training": asdict(state),
                },
            )
        accelerator.wait_for_everyone()
        for tracker in accelerator.trackers:  # `end_training` would also leave the process group, which stages share
            tracker.finish()
        return result

    def _draw_card_images(self) -> None:
        """Writes held-out samples with the final weights as `examples.png`, which the model card shows."""
        count = self.arguments.run.card_images
        sharded = self.accelerator.distributed_type == DistributedType.FSDP  # then a forward needs all ranks
        if self.overlay_fn is None or not count or sharded or not self.accelerator.is_main_process:
            return
        self.bare_model.eval()
        randomness = isolated_randomness(derived_seed(self.arguments.run.seed, 2))
        with torch.no_grad(), randomness, precision_of(self.accelerator):
            images = self.overlay_fn(self.bare_model, count)
        if images:
            sheet = image_grid(images, 1)
            sheet.thumbnail((CARD_WIDTH, CARD_WIDTH * len(images)))
            sheet.quantize(256).save(self.output_dir / "examples.png", optimize=True)

    def _load_final(self, folder: Path) -> None:
        tensors = load_file(folder / "model.safetensors")
        if self.ema is not None:
            tensors.update(
                {name: t.to(tensors[name].dtype) for name, t in load_file(folder / "ema.safetensors").items()}
            )
        load_model_tensors(self.bare_model, tensors, str(folder))

    def _save_model(self) -> None:
        """Writes the trained model.

        Raises:
            CheckpointError: It could not be written, for example for want of space.
        """
        try:
            self._write_model()
        except (OSError, SafetensorError) as error:
            raise CheckpointError(
                f"Could not write the trained model to {self.output_dir}: {error}. The last checkpoint is "
                f"{self.last_checkpoint}; free some space and go on with --resume_from_checkpoint latest."
            ) from error

    def _write_model(self) -> None:
        sharded = self.accelerator.distributed_type == DistributedType.FSDP
        weights = self.accelerator.get_state_dict(self.model) if sharded else self.bare_model.state_dict()
        if not self.accelerator.is_main_process:
            return
        if self.save_fn is not None:
            self.save_fn(self.bare_model, self.output_dir, weights)
        elif hasattr(self.bare_model, "save_pretrained"):
            cast(PretrainedSaving, self.bare_model).save_pretrained(self.output_dir, state_dict=weights)
        else:
            from safetensors.torch import save_file

            save_file(
                {name: weight.contiguous() for name, weight in weights.items()}, self.output_dir / "model.safetensors"
            )
