# Copyright 2026 The hfseg authors. Licensed under the Apache License, Version 2.0.
"""What a run shows: a bar on a terminal, plain lines elsewhere, numbers to the trackers."""

import sys
import time
from collections.abc import Mapping, Sequence
from typing import Any, cast

import numpy as np
from accelerate.tracking import TensorBoardTracker
from tqdm.auto import tqdm

from accelerate import Accelerator


class Progress:
    """Reports loss, speed and the time that is left, on the main process only.

    Args:
        accelerator: The run's accelerator; its trackers get every logged line.
        max_steps: Updates of the whole run.
        step: Updates already done (resumed).
        log_every: Updates between lines.
    """

    def __init__(self, accelerator: Accelerator, max_steps: int, step: int, log_every: int) -> None:
        self.accelerator, self.max_steps, self.log_every = accelerator, max_steps, log_every
        self.main = accelerator.is_main_process
        self.bar = tqdm(
            total=max_steps, initial=step, desc="training", unit="step", disable=not (self.main and sys.stderr.isatty())
        )
        self._samples, self._since = 0, time.perf_counter()
        self._first_step, self._start = step, time.perf_counter()

    def update(self, step: int, samples: int, numbers: Mapping[str, float]) -> None:
        """Counts one update of `samples` samples and logs `numbers` when it is time."""
        self.bar.update()
        self._samples += samples
        if step % self.log_every and step != self.max_steps:
            return
        now = time.perf_counter()
        speed = self._samples / max(now - self._since, 1e-9)
        self._samples, self._since = 0, now
        self.bar.set_postfix_str(f"loss {numbers['loss']:.4g}, {speed:.1f} samples/s")
        self.accelerator.log(
            {**{f"train/{key}": value for key, value in numbers.items()}, "train/samples_per_second": speed}, step=step
        )
        if self.main and self.bar.disable:
            left = (now - self._start) / (step - self._first_step) * (self.max_steps - step)
            rate = f", lr {numbers['learning_rate']:.3g}" if "learning_rate" in numbers else ""
            clock = tqdm.format_interval(left)
            print(
                f"step {step}/{self.max_steps}: loss {numbers['loss']:.4g}{rate}, {speed:.1f} samples/s, {clock} left",
                flush=True,
            )

    def show(self, images: Sequence[Any], step: int) -> None:
        """Gives images (PIL) to every tracker that takes some."""
        named = {f"eval/sample_{number}": np.asarray(image.convert("RGB")) for number, image in enumerate(images)}
        for tracker in self.accelerator.trackers if self.main and named else ():
            if tracker.name == "tensorboard":
                batches = {name: array[None] for name, array in named.items()}
                cast(TensorBoardTracker, tracker).log_images(batches, step=step, dataformats="NHWC")
            elif tracker.name == "trackio":  # accelerate's tracker has no method for images
                import trackio

                tracker.tracker.log({name: trackio.Image(array) for name, array in named.items()}, step=step)
            elif hasattr(tracker, "log_images"):
                tracker.log_images({name: [array] for name, array in named.items()}, step=step)

    def say(self, line: str) -> None:
        """Prints a line beside the bar."""
        if self.main:
            (tqdm.write if not self.bar.disable else print)(line)
            sys.stdout.flush()

    def close(self) -> None:
        """Ends the bar."""
        self.bar.close()
