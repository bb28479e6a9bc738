# Copyright 2026 The hfseg authors. Licensed under the Apache License, Version 2.0.
"""Flow matching as LaVin-DiT uses it: time runs from 0 (noise) to 1 (data), z_t = t data + (1 - t) noise.

The thesis' sampling algorithm (eq. 4.9-4.10) walks from t = 1 to 0 with a velocity that points to the data; the
released code, and this module, walk from 0 to 1.
"""

from typing import Any, cast

import numpy as np
import torch
from diffusers.configuration_utils import register_to_config
from diffusers.schedulers.scheduling_flow_match_euler_discrete import (
    FlowMatchEulerDiscreteScheduler,
    FlowMatchEulerDiscreteSchedulerOutput,
)
from diffusers.schedulers.scheduling_utils import SchedulerMixin

from ...files.bounds import check_counts
from ...losses.flow_matching import LAST_TIME, logit_normal_times, noisy_latents

GRIDS = ("authors", "uniform")
PREDICTIONS = ("velocity", "sample")
# Point counts for which the authors typed their grid as numbers with four decimals.
TABULATED = (20, 30, 40)

__all__ = ["LavinDiTScheduler", "SchedulerMixin", "time_grid"]  # the base class: diffusers looks for it in this module


def time_grid(num_points: int, kind: str = "authors") -> np.ndarray:
    """Computes the times 0 ... 1 at which the state of the sampler is known.

    `authors`: half of the points equally spaced in [0, 0.05], the other half on a parabola from there to 1, which is
    what the three tables in the released code hold (20, 30 and 40 points, rounded to four decimals). Other counts use
    the same formula, unrounded. `uniform`: equally spaced, as the thesis writes.

    Shape:
        (num_points,), float32, ascending.

    >>> time_grid(20)[8:12].tolist() == [np.float32(t) for t in (0.0444, 0.05, 0.0524, 0.073)]
    True
    """
    if num_points < 2:
        raise ValueError(f"There are {num_points} time steps; give at least 2, that is one step.")
    if kind == "uniform":
        return np.linspace(0, 1, num_points).astype(np.float32)
    if kind != "authors":
        raise ValueError(f"grid is {kind!r}; choose one of {', '.join(GRIDS)}.")
    first = num_points // 2
    line = np.linspace(0, 0.05, first)
    parabola = 0.05 + 0.95 * np.linspace(1 / num_points, 1, num_points - first) ** 2
    grid = np.concatenate([line, parabola])
    grid[-1] = 1
    return (np.round(grid, 4) if num_points in TABULATED else grid).astype(np.float32)


class LavinDiTScheduler(FlowMatchEulerDiscreteScheduler):
    """Euler steps from noise (t = 0) to data (t = 1), on the authors' grid of times or a uniform one.

    N inference steps are N Euler steps between N + 1 time steps, as everywhere in diffusers; the official code
    counts points, so its 20 are 19 steps here. `timesteps` are 1000 t, `sigmas` are the times t themselves, ascending.

    Args:
        num_train_timesteps: Factor between times and `timesteps`.
        shift: Moves times toward noise: t / (t + shift (1 - t)). In sampling and in `sample_times`; the released code
            has it in training only, and at 1, which changes nothing.
        grid: `authors` or `uniform`.
        invert_sigmas: Always true: sigmas ascend.
        prediction_type: What the network predicts: the `velocity`, as released, or the clean `sample`, which pipeline
            and objective turn into the velocity. The second is for nets that are narrower than what a token holds:
            they cannot pass all of its noise through (Li and He, "Back to Basics", 2025).

    >>> scheduler = LavinDiTScheduler()
    >>> scheduler.set_timesteps(19)
    >>> len(scheduler.timesteps), scheduler.sigmas[[0, 1, -1]].tolist()
    (19, [0.0, 0.00559999980032444, 1.0])
    """

    # With our settings it samples the same way, on a uniform grid.
    _compatibles = ["FlowMatchEulerDiscreteScheduler"]

    @register_to_config
    def __init__(
        self,
        num_train_timesteps: int = 1000,
        shift: float = 1.0,
        grid: str = "authors",
        invert_sigmas: bool = True,
        prediction_type: str = "velocity",
    ) -> None:
        check_counts(dict(self.config))
        if grid not in GRIDS:
            raise ValueError(f"grid is {grid!r}; choose one of {', '.join(GRIDS)}.")
        if prediction_type not in PREDICTIONS:
            raise ValueError(f"prediction_type is {prediction_type!r}; choose one of {', '.join(PREDICTIONS)}.")
        if not shift > 0:
            raise ValueError(f"shift is {shift}; it must be positive (1 leaves times as they are).")
        if not invert_sigmas:
            raise ValueError("invert_sigmas must be true: this scheduler's times ascend from noise to data.")
        # Another class' from_config drops what was left at its default here, and stock sigmas descend by default.
        if "_use_default_values" in self.config:
            defaults = [name for name in self.config["_use_default_values"] if name != "invert_sigmas"]
            self.register_to_config(_use_default_values=defaults)
        # Not the base class' __init__: it would register a dozen arguments that mean nothing here.
        self._shift = shift
        self.set_timesteps(1)

    def set_timesteps(
        self,
        num_inference_steps: int | None = None,
        device: str | torch.device | None = None,
        sigmas: list[float] | None = None,
        timesteps: list[float] | None = None,
    ) -> None:
        """Chooses the times of sampling.

        Args:
            num_inference_steps: Number of steps, at least 1.
            device: Where `timesteps` go.
            sigmas: Times t of one's own instead, ascending from 0; the last, 1, is added.
            timesteps: The same times 1000 t.

        Raises:
            ValueError: Too few steps, both or neither of the alternatives, or times that do not ascend in [0, 1).
        """
        if sum(given is not None for given in (sigmas, timesteps)) > 1:
            raise ValueError("Give sigmas or timesteps, not both.")
        if timesteps is not None:
            sigmas = [time / self.config["num_train_timesteps"] for time in timesteps]
        if sigmas is not None:
            times = np.append(np.asarray(sigmas, dtype=np.float32), np.float32(1))
            if len(times) < 2 or (np.diff(times) <= 0).any() or times[0] < 0:
                raise ValueError(f"The times {list(sigmas)} must ascend within [0, 1); 1 is added.")
        elif num_inference_steps is None:
            raise ValueError("Give num_inference_steps, sigmas or timesteps.")
        elif num_inference_steps < 1:
            raise ValueError(f"num_inference_steps is {num_inference_steps}; give at least 1.")
        else:
            times = time_grid(num_inference_steps + 1, self.config["grid"])
            if self.shift != 1:
                times = times / (times + self.shift * (1 - times))
        self.num_inference_steps = len(times) - 1
        self.sigmas = torch.from_numpy(times.astype(np.float32)).to(device)
        self.timesteps = self.sigmas[:-1] * self.config["num_train_timesteps"]
        self.sigma_min, self.sigma_max = self.sigmas[0].item(), self.sigmas[-1].item()
        self._step_index = None
        self._begin_index = None

    def index_for_timestep(self, timestep: float | torch.Tensor, schedule_timesteps: torch.Tensor | None = None) -> int:
        """Finds a time in the grid; every time occurs once."""
        schedule = self.timesteps if schedule_timesteps is None else schedule_timesteps
        return int((schedule == timestep).nonzero()[0].item())

    def step(
        self, model_output: torch.Tensor, timestep: float | torch.Tensor, sample: torch.Tensor, return_dict: bool = True
    ) -> FlowMatchEulerDiscreteSchedulerOutput | tuple[torch.Tensor]:
        """Moves the state along the velocity to the next time, in float32.

        Args:
            model_output: Velocity data - noise at this time.
            timestep: One of `timesteps`, in their order.
            sample: State at this time.
            return_dict: Whether to return an output object.

        Returns:
            The state at the next time as `prev_sample`, in the velocity's precision.
        """
        if self.step_index is None:
            self._init_step_index(cast(Any, timestep))
        index: int = self.step_index
        moved = sample.float() + (self.sigmas[index + 1] - self.sigmas[index]) * model_output
        self._step_index: Any = index + 1  # declared as None by diffusers
        moved = moved.to(model_output.dtype)
        return FlowMatchEulerDiscreteSchedulerOutput(prev_sample=moved) if return_dict else (moved,)

    def scale_noise(
        self, sample: torch.Tensor, timestep: float | torch.Tensor, noise: torch.Tensor | None = None
    ) -> torch.Tensor:
        """Mixes data with noise at times of the grid: t data + (1 - t) noise.

        The base class' own formula mixes the wrong way round when sigmas ascend.

        Shape:
            sample, noise: (B, ...); timestep: (B,) or one number, 1000 t.
        """
        if noise is None:
            raise ValueError("Give the noise that the sample is mixed with.")
        times = torch.as_tensor(timestep, device=sample.device, dtype=torch.float32)
        times = times / self.config["num_train_timesteps"]
        return noisy_latents(sample, noise, times.expand(sample.shape[0]))

    def sample_times(
        self, batch_size: int, generator: torch.Generator | None = None, device: torch.device | str | None = None
    ) -> torch.Tensor:
        """Draws training times: logistic of a standard normal, then shifted.

        Shape:
            (batch_size,), float32 in (0, 1); at most `LAST_TIME` where the sample is predicted.
        """
        times = logit_normal_times(batch_size, shift=self.shift, generator=generator, device=device)
        return times if self.config["prediction_type"] == "velocity" else times.clamp(max=LAST_TIME)
