# Copyright 2026 The hfseg authors. Licensed under the Apache License, Version 2.0.
"""Several optimizers in the one loop: adversarial training, alternating objectives.

A recipe's `phases` list who moves which weights. Every update of the run goes through the phases in their order, on the
same micro-batches:

    for phase in phases that take part in this update:
        weights of the other phases are frozen
        loss = model(**batch, phase=phase.name).loss      for every micro-batch; backward
        clip by the phase's norm, step of its optimizer and schedule, its gradients dropped

so a later phase already sees the earlier one's new weights, and no gradient reaches weights of another phase. The
model takes part by one thing: its `forward` takes `phase: str` and returns that phase's `loss` (and `loss_dict`).
Weights that belong to no phase must be frozen (`requires_grad = False`); a run with a trainable weight of no phase, or
of two, is refused.

A recipe without phases is one nameless phase with all weights, and `forward` gets no `phase`.
"""

import inspect
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any

from torch import nn
from torch.optim import Optimizer
from torch.optim.lr_scheduler import LRScheduler

from .arguments import TrainingArguments
from .optimization import create_optimizer, create_scheduler, parameter_groups


@dataclass
class Phase:
    """One optimizer with its weights.

    Attributes:
        name: Value of `phase=`; empty for a run with one optimizer.
        optimizer: Over its weights; the prepared one from the start of the loop on.
        scheduler: Its schedule.
        parameters: Its weights.
        clip_norm: Largest norm of its gradient, or None.
        first_step: First update in which it takes part.
        every: Then every n-th.
    """

    name: str
    optimizer: Any
    scheduler: LRScheduler
    parameters: list[nn.Parameter]
    clip_norm: float | None
    first_step: int = 0
    every: int = 1

    def due(self, step: int) -> bool:
        """Tells whether it takes part in update number `step` (from 0)."""
        return takes_part(step, self.first_step, self.every)

    @property
    def inputs(self) -> dict[str, str]:
        """What `forward` gets beside the batch."""
        return {"phase": self.name} if self.name else {}


def takes_part(step: int, first_step: int, every: int) -> bool:
    """Tells whether a phase takes part in update number `step` (from 0)."""
    return step >= first_step and (step - first_step) % every == 0


def phase_groups(model: nn.Module, arguments: TrainingArguments) -> list[tuple[str, list[dict[str, Any]]]]:
    """Sorts trainable weights into the phases' parameter groups.

    Raises:
        ValueError: The model's forward takes no `phase`; a module is unknown; a weight has no phase, or two.
    """
    if not arguments.phases:
        return [("", parameter_groups(model, arguments.optimizer))]
    if "phase" not in inspect.signature(model.forward).parameters:
        raise ValueError(
            f"The recipe has phases, but {type(model).__name__}.forward takes no `phase`; see hfseg.training.phases."
        )
    trainable = {name for name, parameter in model.named_parameters() if parameter.requires_grad}
    owner: dict[str, str] = {}
    for phase in arguments.phases:
        for module in phase.modules:
            below = {name for name in trainable if name == module or name.startswith(f"{module}.")}
            if not below:
                children = ", ".join(name for name, _ in model.named_children())
                raise ValueError(
                    f"phases: {phase.name} names {module!r}, which has no trainable weight; of {children}."
                )
            for name in below:
                if owner.setdefault(name, phase.name) != phase.name:
                    raise ValueError(f"phases: {name} belongs to {owner[name]} and to {phase.name}; keep one.")
    orphans = sorted(trainable - set(owner))
    if orphans:
        raise ValueError(
            f"phases: {len(orphans)} trainable weights belong to no phase, first {', '.join(orphans[:3])}. List their "
            "modules, or freeze them."
        )
    return [
        (
            phase.name,
            parameter_groups(
                model,
                arguments.phase_sections(number)[0],
                {name for name, of in owner.items() if of == phase.name},
            ),
        )
        for number, phase in enumerate(arguments.phases)
    ]


def create_phases(model: nn.Module, arguments: TrainingArguments, max_steps: int) -> list[Phase]:
    """Builds the run's optimizers and schedules; one phase without a name where the recipe has none.

    Raises:
        ValueError: As `phase_groups`; a phase never takes part, or an update has none.
    """
    if arguments.phases and not any(phase.first_step == 0 and phase.every == 1 for phase in arguments.phases):
        raise ValueError("phases: one must take part in every update (first_step 0, every 1); else the run has holes.")
    phases = []
    for number, (name, groups) in enumerate(phase_groups(model, arguments)):
        optimizer_arguments, schedule, first_step, every = arguments.optimizer, arguments.schedule, 0, 1
        if arguments.phases:
            optimizer_arguments, schedule = arguments.phase_sections(number)
            first_step, every = arguments.phases[number].first_step, arguments.phases[number].every
        updates = len(range(first_step, max_steps, every))
        if updates == 0:
            raise ValueError(f"phases: {name} starts at update {first_step} of a run of {max_steps}; it never would.")
        optimizer: Optimizer = create_optimizer(groups, optimizer_arguments)
        scheduler = create_scheduler(optimizer, updates, schedule)
        parameters = [parameter for group in groups for parameter in group["params"]]
        phases.append(Phase(name, optimizer, scheduler, parameters, optimizer_arguments.clip_norm, first_step, every))
    return phases


@contextmanager
def only(phase: Phase, phases: list[Phase]) -> Iterator[None]:
    """Freezes the weights of all other phases for a block."""
    others = [parameter for other in phases if other is not phase for parameter in other.parameters]
    for parameter in others:
        parameter.requires_grad_(False)
    try:
        yield
    finally:
        for parameter in others:
            parameter.requires_grad_(True)
