# Copyright 2026 The hfseg authors. Licensed under the Apache License, Version 2.0.
"""LaVin-DiT as a diffusers pipeline: show pairs of images, ask for the answer to another.

1. Every image (or clip) becomes latents by itself; a posterior sample, as the authors do.
2. [input, target, input, target, ..., query] is the condition; without examples it is [one zero frame, query].
3. Noise is moved to the answer along `v0 + guidance_scale (v - v0)`, v with examples and v0 without.
4. The answer is decoded; pixels are truncated, not rounded, to 8 bits, as the authors do.

What does not change over the steps is computed once: latents and embeddings of the condition, positions, everything
that depends on the time alone. At `guidance_scale=1` the pass without examples is left out.

Clips have 4 k + 1 frames (of ST-VAE) and one latent frame per four. The released code has no clips; that their latent
frames simply follow one another is our layout. To predict the 12 frames after a clip, show targets of 13 frames, the
first of which is the last of the input.
"""

import importlib
import json
import logging
import math
import os
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from functools import cache
from pathlib import Path
from typing import Any

import numpy as np
import torch
from diffusers import AutoencoderKLCogVideoX, FlowMatchEulerDiscreteScheduler
from diffusers.loaders.lora_pipeline import CogVideoXLoraLoaderMixin
from diffusers.models.modeling_utils import ModelMixin
from diffusers.pipelines.pipeline_utils import DiffusionPipeline
from diffusers.utils import BaseOutput
from diffusers.utils.torch_utils import randn_tensor
from PIL import Image
from safetensors.torch import load_file

from ...files.remote_code import SHIM
from ...files.writing import write_text
from ...layers.modes import evaluation_mode
from ...losses.flow_matching import velocity_of_sample
from ...results.visual_formats import find_format
from .clips_lavin_dit import (
    ASPECT_TOLERANCE,
    MAXIMUM_FOLDER_EXAMPLES,
    Clip,
    Pair,
    levels,
    read_example_folder,
    resized,
    to_clip,
    to_pixels,
)
from .offloading_lavin_dit import adapters_scaled, offloaded_in_groups, on_device
from .sampling_lavin_dit import LavinDiTExamples, adapter_for_diffusers, check_scheduler, set_times
from .scheduling_lavin_dit import LavinDiTScheduler
from .transformer_lavin_dit import LavinDiTTransformer3DModel
from .vae_lavin_dit import LavinDiTAutoencoderKL, PixelAutoencoder

logger = logging.getLogger(__name__)

OUTPUT_TYPES = ("pil", "np", "pt", "latent")
OUTPUT_SIZES = ("query", "model")
LORA_FILE = "pytorch_lora_weights.safetensors"

__all__ = ["LavinDiTExamples", "LavinDiTPipeline", "LavinDiTPipelineOutput", "ModelMixin", "read_example_folder"]


@dataclass
class LavinDiTPipelineOutput(BaseOutput):
    """Answers of the pipeline.

    Attributes:
        images: One per query. `pil`: images, or lists of frames. `np`: (B, H, W, 3), or (B, T, H, W, 3) for clips.
            `pt`: (B, 3, H, W) or (B, T, 3, H, W). Values of the last two are in [0, 1]. `latent`: (B, C, F, h, w).
        decoded: With `task`, what the images say, one per query; see `hfseg.results.visual_formats`. Else None.
    """

    images: Any
    decoded: list[Any] | None = None


@cache
def _warn_once(message: str) -> None:
    logger.warning(message)


class LavinDiTPipeline(DiffusionPipeline, CogVideoXLoraLoaderMixin):
    """Answers a query image by the task that examples show.

    Args:
        transformer: J-DiT.
        vae: ST-VAE (`LavinDiTAutoencoderKL`), or any autoencoder of clips with `latent_dist`.
        scheduler: `LavinDiTScheduler`, or diffusers' Euler scheduler of flow matching with `invert_sigmas`.

    Adapters (LoRA) of the transformer load as in diffusers: `load_lora_weights(folder)`, also of a folder in peft's
    form as `hfseg train` writes it, then `set_adapters`, `fuse_lora`, `unfuse_lora`, `unload_lora_weights`.

    >>> from hfseg.models.lavin_dit.vae_lavin_dit import PixelAutoencoder
    >>> transformer = LavinDiTTransformer3DModel(in_channels=3, num_layers=1, num_attention_heads=1,
    ...     attention_head_dim=12, num_key_value_heads=1, intermediate_size=16)
    >>> pipe = LavinDiTPipeline(transformer, PixelAutoencoder(sample_height=32, sample_width=32), LavinDiTScheduler())
    >>> pipe.set_progress_bar_config(disable=True)
    >>> image = Image.new("RGB", (32, 32), "red")
    >>> pipe(image, [(image, image)], num_inference_steps=2).images[0].size
    (32, 32)
    """

    model_cpu_offload_seq: Any = "transformer->vae"  # declared as None by diffusers
    _callback_tensor_inputs = ["latents"]

    # Concrete classes: `from_pipe` takes over components of exactly these.
    def __init__(
        self,
        transformer: LavinDiTTransformer3DModel,
        vae: LavinDiTAutoencoderKL | PixelAutoencoder | AutoencoderKLCogVideoX,
        scheduler: LavinDiTScheduler | FlowMatchEulerDiscreteScheduler,
    ) -> None:
        super().__init__()
        check_scheduler(scheduler)
        self.register_modules(transformer=transformer, vae=vae, scheduler=scheduler)

    # -------------------------------------------------------------------------------------------------- what it knows

    @property
    def spatial_ratio(self) -> int:
        """Pixels per latent and side."""
        own = getattr(self.vae, "spatial_compression_ratio", None)
        return own if isinstance(own, int) else 2 ** (len(self.vae.config.block_out_channels) - 1)

    @property
    def temporal_ratio(self) -> int:
        """Frames per latent frame, behind the first."""
        return int(self.vae.config.get("temporal_compression_ratio", 1))

    @property
    def max_examples(self) -> int | None:
        """Most pairs that the weights were trained with; None: not known."""
        return self.transformer.config.get("max_examples")

    @property
    def guidance_scale(self) -> float:
        """Guidance of the call in progress."""
        return self._guidance_scale

    @property
    def do_classifier_free_guidance(self) -> bool:
        """Whether the pass without examples is needed."""
        return self._guidance_scale != 1

    @property
    def num_timesteps(self) -> int:
        """Steps of the call in progress."""
        return self._num_timesteps

    @property
    def interrupt(self) -> bool:
        """Set `pipe._interrupt = True` in a callback to stop after the step."""
        return self._interrupt

    def check_size(self, height: int | None = None, width: int | None = None) -> tuple[int, int]:
        """Fills in the default size and checks that it can be cut into patches.

        Raises:
            ValueError: It cannot; names legal sizes.
        """
        height = height or self.vae.config.sample_height
        width = width or self.vae.config.sample_width
        unit = self.spatial_ratio * self.transformer.config.patch_size
        for name, value in (("height", height), ("width", width)):
            if value < unit or value % unit:
                near = sorted({max(unit, unit * math.floor(value / unit)), unit * math.ceil(max(value, 1) / unit)})
                raise ValueError(
                    f"{name} is {value}; it must be a multiple of {unit}, e.g. {' or '.join(map(str, near))}."
                )
        return height, width

    # ------------------------------------------------------------------------------------------------------ encoding

    def _posterior(self, clips: Sequence[torch.Tensor], height: int, width: int) -> Any:
        """Encodes clips of equal length by themselves; returns their posterior."""
        frames = {len(clip) for clip in clips}
        if len(frames) > 1 or (next(iter(frames)) - 1) % self.temporal_ratio:
            ratio = self.temporal_ratio
            raise ValueError(
                f"Clips of {sorted(frames)} frames: all must have the same number, "
                + (f"{ratio} k + 1 (1, {ratio + 1}, {2 * ratio + 1}, ...)." if ratio > 1 else "whatever it is.")
            )
        pixels = torch.stack([to_pixels(clip, height, width) for clip in clips])
        with on_device(self.vae):
            return self.vae.encode(pixels.to(self._execution_device, self.vae.dtype)).latent_dist

    def _latents(self, posterior: Any, generator: Any, sample: bool, count: int = 1) -> torch.Tensor:
        """Takes `count` shifted and scaled latents of every clip from a posterior; noise is drawn in float32."""
        latents = posterior.mode().repeat_interleave(count, dim=0)
        if sample:
            noise = randn_tensor(latents.shape, generator=generator, device=latents.device, dtype=torch.float32)
            mean, deviation = (part.repeat_interleave(count, dim=0) for part in (posterior.mean, posterior.std))
            latents = mean + deviation * noise.to(latents.dtype)
        return (latents - (self.vae.config.get("shift_factor") or 0.0)) * self.vae.config.scaling_factor

    def read_examples(
        self, folder: str | os.PathLike, read_video: Callable[[Path], list[Image.Image]] | None = None
    ) -> tuple[list[Pair], int | None]:
        """Reads a folder of examples; also returns how many of them to draw if nothing is said (None: all).

        Args:
            folder: See `read_example_folder`.
            read_video: Reads the frames of a video file.
        """
        pairs = read_example_folder(folder, read_video)
        most = self.max_examples or MAXIMUM_FOLDER_EXAMPLES
        return pairs, most if len(pairs) > most else None

    def _check_pair(self, number: int, pair: Any) -> tuple[torch.Tensor, torch.Tensor]:
        if not isinstance(pair, (tuple, list)) or len(pair) != 2:
            raise ValueError(f"Example {number} is no pair (input, target), but {type(pair).__name__}.")
        given, target = to_clip(pair[0]), to_clip(pair[1])
        ratios = [clip.shape[-1] / clip.shape[-2] for clip in (given, target)]
        if abs(ratios[0] / ratios[1] - 1) > ASPECT_TOLERANCE:
            sizes = [f"{clip.shape[-1]} x {clip.shape[-2]}" for clip in (given, target)]
            raise ValueError(
                f"Example {number}: input ({sizes[0]}) and target ({sizes[1]}) have different aspect ratios, so their "
                "pixels cannot correspond."
            )
        return given, target

    def _choose(
        self, examples: Any, num_examples: int | None, generator: Any
    ) -> list[tuple[torch.Tensor, torch.Tensor]]:
        """Reads the pairs and draws `num_examples` of them, each at most once."""
        if isinstance(examples, (str, os.PathLike)):
            examples, usual = self.read_examples(examples)
            num_examples = num_examples or usual
        if examples is None or not len(examples):
            raise ValueError(
                "There are no examples: give at least one pair (input, target), or a folder with <id>_input.png and "
                "<id>_target.png. The model knows the task from them alone."
            )
        most, given = self.max_examples, num_examples or len(examples)
        if most is not None and given > most:
            _warn_once(
                f"This model was trained with {most} examples at most and is shown {given}: expect wrong answers. Give "
                f"fewer, or num_examples={most}, which draws them."
            )
        if num_examples is not None:
            if not 1 <= num_examples <= len(examples):
                raise ValueError(f"num_examples is {num_examples}; there are {len(examples)} examples.")
            first = generator[0] if isinstance(generator, list) else generator
            device = first.device if first is not None else None
            order = torch.randperm(len(examples), generator=first, device=device).tolist()[:num_examples]
            examples = [examples[index] for index in order]
        return [self._check_pair(number, pair) for number, pair in enumerate(examples)]

    @torch.no_grad()
    def prepare_examples(
        self,
        examples: Sequence[Pair] | str | os.PathLike,
        height: int | None = None,
        width: int | None = None,
        num_examples: int | None = None,
        generator: torch.Generator | list[torch.Generator] | None = None,
        sample_posterior: bool = True,
    ) -> LavinDiTExamples:
        """Encodes examples once, for calls with `examples=` this result.

        Args:
            examples: Pairs (input, target), or a folder of them.
            height: Height of all images in pixels; None: the autoencoder's `sample_height`.
            width: Likewise.
            num_examples: How many to draw, without repetition; None: all, but of a folder no more than the model was
                trained with (`max_examples`) or, where that is not known, 8.
            generator: Source of the draw and of the posterior's noise. With a list, one set of noise for each.
            sample_posterior: False takes the posterior's mode instead, which the authors do not.

        Raises:
            ValueError: No examples, sizes that do not fit, damaged images.
        """
        with evaluation_mode(self.transformer, self.vae):
            encoded = self._encode_examples(examples, height, width, num_examples, generator, sample_posterior)
            if offloaded_in_groups(self.transformer):
                return encoded
            return replace(encoded, tokens=self.transformer.embed_condition(encoded.latents))

    def _encode_examples(
        self, examples: Any, height: Any, width: Any, num_examples: int | None, generator: Any, sample: bool
    ) -> LavinDiTExamples:
        """Encodes examples by the autoencoder alone: the transformer need not be on the device yet."""
        height, width = self.check_size(height, width)
        pairs = self._choose(examples, num_examples, generator)
        inputs, targets = zip(*pairs)
        if len(inputs[0]) == len(targets[0]):
            mixed = [clip for pair in pairs for clip in pair]
            posteriors = [self._posterior(mixed, height, width)]
        else:
            posteriors = [self._posterior(clips, height, width) for clips in (inputs, targets)]
        sources = generator if isinstance(generator, list) else [generator]
        rows = []
        for source in sources:
            latents = [self._latents(posterior, source, sample) for posterior in posteriors]
            clips = list(latents[0]) if len(latents) == 1 else [clip for pair in zip(*latents) for clip in pair]
            rows.append(torch.cat(clips, dim=1))  # (C, F, h, w)
        joined = torch.stack(rows)  # (1 or B, C, F, h, w)
        return LavinDiTExamples(joined, None, height, width, len(inputs[0]), len(targets[0]))

    def _queries(self, query: Any, generator: Any, count: int) -> list[torch.Tensor]:
        """Reads queries; a list or tuple is a batch of them. Each is asked `count` times."""
        queries = [to_clip(value) for value in (query if isinstance(query, (list, tuple)) else [query])]
        if not queries:
            raise ValueError("There is no query: give an image, a clip, or a non-empty list of them.")
        if isinstance(count, bool) or not isinstance(count, int) or count < 1:
            raise ValueError(f"num_images_per_prompt is {count!r}; it must be a whole number of at least 1.")
        if isinstance(generator, list) and len(generator) != len(queries) * count:
            answers = f"{len(queries)} queries" + (f" with {count} answers each" if count > 1 else "")
            raise ValueError(f"There are {len(generator)} generators for {answers}.")
        return queries

    def _decoded(
        self, latents: torch.Tensor, output_type: str, visual_format: Any, queries: list[torch.Tensor], size: str
    ) -> tuple[Any, Any]:
        """Turns latents into what was asked for, and into what the images show if there is a format."""
        if output_type == "latent":
            return latents, None
        sizes = [tuple(clip.shape[-2:]) for clip in queries] if size == "query" else None
        return self._images(latents, output_type, visual_format, sizes)

    def _check_call(
        self, output_type: str, output_size: str, task: str | None, guidance_scale: float, given: Sequence[str]
    ) -> Any:
        """Checks options of `__call__`; returns the visual format of the task, if any."""
        if output_type not in OUTPUT_TYPES:
            raise ValueError(f"output_type is {output_type!r}; choose one of {', '.join(OUTPUT_TYPES)}.")
        if output_size not in OUTPUT_SIZES:
            raise ValueError(f"output_size is {output_size!r}; choose one of {', '.join(OUTPUT_SIZES)}.")
        check_scheduler(self.scheduler)
        visual_format = find_format(task) if task is not None else None
        if visual_format is not None and output_type == "latent":
            raise ValueError("task decodes images; it cannot be combined with output_type='latent'.")
        unknown = set(given) - set(self._callback_tensor_inputs)
        if unknown:
            raise ValueError(
                f"callback_on_step_end_tensor_inputs has {sorted(unknown)}; it may have {self._callback_tensor_inputs}."
            )
        if not math.isfinite(guidance_scale):
            raise ValueError(f"guidance_scale is {guidance_scale}; it must be a finite number.")
        return visual_format

    def _check_examples(
        self,
        examples: LavinDiTExamples,
        queries: list[torch.Tensor],
        height: int | None,
        width: int | None,
        count: int,
    ) -> LavinDiTExamples:
        """Checks that prepared examples fit the queries and the size; returns those of every answer."""
        if (height or examples.height, width or examples.width) != (examples.height, examples.width):
            raise ValueError(
                f"The examples were prepared for {examples.height} x {examples.width}, not {height} x {width}; "
                "prepare them again."
            )
        if len(examples.latents) not in (1, len(queries), len(queries) * count):
            raise ValueError(f"The examples were prepared for {len(examples.latents)} queries, not {len(queries)}.")
        if {len(clip) for clip in queries} != {examples.input_frames}:
            raise ValueError(
                f"The queries have {sorted({len(clip) for clip in queries})} frames, the examples' inputs "
                f"{examples.input_frames}; they must have equally many."
            )
        own = count > 1 and len(examples.latents) == len(queries) > 1
        return examples.repeated(count) if own else examples

    def _noise(
        self,
        shape: tuple[int, ...],
        generator: torch.Generator | list[torch.Generator] | None,
        latents: torch.Tensor | None,
    ) -> torch.Tensor:
        """Draws the noise that sampling starts from, or checks what was given."""
        if latents is None:
            return randn_tensor(shape, generator=generator, device=self._execution_device, dtype=torch.float32)
        if tuple(latents.shape) != shape:
            raise ValueError(f"latents have the shape {tuple(latents.shape)}; this call needs {shape}.")
        return latents

    def _passes(
        self, examples: LavinDiTExamples, query_latents: torch.Tensor, target_frames: int, times: torch.Tensor
    ) -> tuple[list[tuple[str, dict[str, Any]]], Callable[[int], dict[str, Any]]]:
        """Lists what every step is asked: with the examples, and with guidance also without them.

        Returns:
            Per pass its name and what it gives the transformer in every step, and what it is given in one step.
        """
        shown = examples.latents.expand(len(query_latents), -1, -1, -1, -1)
        zero, grid = torch.zeros_like(query_latents[:, :, :1]), query_latents.shape[-2:]
        names = ("cond", "uncond") if self.do_classifier_free_guidance else ("cond",)
        if offloaded_in_groups(self.transformer):  # then weights are on the device in `forward` only
            frames = [torch.cat([first.to(zero), query_latents], dim=2) for first in (shown, zero)]
            passes = [(name, {"encoder_hidden_states": given}) for name, given in zip(names, frames)]
            return passes, lambda step: {"timestep": times[step].expand(len(query_latents))}
        modulations = self.transformer.precompute_modulations(times)
        query_tokens, tokens = self.transformer.embed_condition(query_latents), examples.tokens
        tokens = self.transformer.embed_condition(examples.latents.to(zero.device)) if tokens is None else tokens
        tokens = tokens.to(zero.device).expand(len(query_tokens), -1, -1)
        tokens_per_frame = query_tokens.shape[1] // query_latents.shape[2]
        passes = []
        for name in names:
            first = tokens if name == "cond" else self.transformer.embed_condition(zero)
            condition = torch.cat([first, query_tokens], dim=1)
            table = self.transformer.rotary_table(condition.shape[1] // tokens_per_frame + target_frames, *grid)
            passes.append((name, {"condition_tokens": condition, "rotary": table}))
        return passes, lambda step: {"modulations": modulations.at(step)}

    def _sample(
        self,
        latents: torch.Tensor,
        passes: list[tuple[str, dict[str, Any]]],
        of_step: Callable[[int], dict[str, Any]],
        times: torch.Tensor,
        callback: Callable[..., dict] | None,
        tensor_inputs: Sequence[str],
    ) -> torch.Tensor:
        """Moves noise along the velocity, step by step.

        Args:
            latents: The noise.
            passes: Per pass its name and what it gives the transformer; with guidance there are two.
            of_step: Gives what the transformer gets in a step.
            times: Of the steps.
            callback: Called behind every step.
            tensor_inputs: Names of the tensors that it gets.
        """
        self._num_timesteps = len(self.scheduler.timesteps)
        with self.progress_bar(total=self._num_timesteps) as progress:
            for step, timestep in enumerate(self.scheduler.timesteps):
                if self._interrupt:
                    continue
                velocities = []
                for name, given in passes:
                    with self.transformer.cache_context(name):
                        velocities.append(self.transformer(latents, **given, **of_step(step), return_dict=False)[0])
                velocity = velocities[0]
                if len(velocities) > 1:  # combining predicted samples or their velocities is the same
                    velocity = velocities[1] + self._guidance_scale * (velocities[0] - velocities[1])
                if self.scheduler.config.get("prediction_type") == "sample":
                    velocity = velocity_of_sample(velocity, latents, times[step])
                latents = self.scheduler.step(velocity, timestep, latents, return_dict=False)[0]
                if callback is not None:
                    given = {"latents": latents} if "latents" in tensor_inputs else {}
                    changed = callback(self, step, timestep, given)
                    latents = (changed or {}).get("latents", latents)
                progress.update()
        return latents

    # ---------------------------------------------------------------------------------------------------------- call

    def __call__(
        self,
        query: Clip | Sequence[Clip],
        examples: Sequence[Pair] | str | os.PathLike | LavinDiTExamples,
        height: int | None = None,
        width: int | None = None,
        num_inference_steps: int = 19,
        guidance_scale: float = 1.5,
        num_examples: int | None = None,
        generator: torch.Generator | list[torch.Generator] | None = None,
        latents: torch.Tensor | None = None,
        sample_posterior: bool = True,
        task: str | None = None,
        output_type: str = "pil",
        output_size: str = "query",
        return_dict: bool = True,
        callback_on_step_end: Callable[..., dict] | None = None,
        callback_on_step_end_tensor_inputs: Sequence[str] = ("latents",),
        sigmas: Sequence[float] | None = None,
        num_images_per_prompt: int = 1,
        attention_kwargs: dict[str, Any] | None = None,
    ) -> LavinDiTPipelineOutput | tuple:
        """Answers queries, in evaluation mode: in training mode blocks would be dropped at random.

        Args:
            query: An image, a clip (an array or tensor with a frame axis), or a list of them, which is a batch; a clip
                as a list of frames goes into such a list. All have equally many frames.
            examples: Pairs (input, target) that show the task, for all queries; a folder of `<id>_input.png` and
                `<id>_target.png`; or what `prepare_examples` returned.
            height, width: Pixels to which every image is resized; None: the autoencoder's `sample_height`, or those of
                prepared examples.
            num_inference_steps: Number of Euler steps. (The official code counts time steps; its 20 are 19 steps.)
            guidance_scale: How far to go from the answer without examples to that with, and beyond; 1 needs one pass.
            num_examples: How many examples to draw; see `prepare_examples`.
            generator: Makes the answer reproducible; a list has one per answer, each as if it were asked alone.
            latents: Initial noise, (B, C, F, h, w), instead of drawn noise.
            sample_posterior: Whether conditions are posterior samples (as the authors') or modes.
            task: Name of a visual format (`depth`, `normal`, `segmentation`, `mask`, `detection`, `pose`, `edge`,
                `flow`): also decode the answer to what it shows, by our conventions in `hfseg.results.visual_formats`.
            output_type: `pil`, `np`, `pt` or `latent`.
            output_size: Whether images get the size of their `query` (arrays of queries of several sizes are then a
                list) or that of the `model`, `height` x `width`. `decoded` always has the model's.
            return_dict: Whether to return an output object or the tuple (images, decoded).
            callback_on_step_end: Called as `f(pipe, step, timestep, {"latents": ...})` behind every step; may return
                other latents.
            callback_on_step_end_tensor_inputs: Names of the tensors that the callback gets.
            sigmas: Steps of one's own in place of `num_inference_steps`; see `sampling_lavin_dit.set_times`.
            num_images_per_prompt: Answers to every query, one behind the other; they differ by their noise.
            attention_kwargs: `{"scale": ...}`, a factor of LoRA adapters in this call.

        Raises:
            ValueError: Sizes that are no multiple of what the networks need, no examples, clips of wrong lengths,
                damaged images, unknown names.
        """
        visual_format = self._check_call(
            output_type, output_size, task, guidance_scale, callback_on_step_end_tensor_inputs
        )
        self._guidance_scale, self._interrupt = guidance_scale, False
        scaled = adapters_scaled(self.transformer, attention_kwargs)
        with torch.no_grad(), evaluation_mode(self.transformer, self.vae), scaled:
            queries = self._queries(query, generator, num_images_per_prompt)
            if not isinstance(examples, LavinDiTExamples):
                examples = self._encode_examples(examples, height, width, num_examples, generator, sample_posterior)
            examples = self._check_examples(examples, queries, height, width, num_images_per_prompt)
            steps, callback = (num_inference_steps, sigmas), (callback_on_step_end, callback_on_step_end_tensor_inputs)
            latents = self._answer(
                queries, examples, generator, latents, sample_posterior, num_images_per_prompt, steps, callback
            )
            answered = [clip for clip in queries for _ in range(num_images_per_prompt)]
            images, decoded = self._decoded(latents, output_type, visual_format, answered, output_size)
            self.maybe_free_model_hooks()
            return LavinDiTPipelineOutput(images, decoded) if return_dict else (images, decoded)

    def _answer(
        self,
        queries: list[torch.Tensor],
        examples: LavinDiTExamples,
        generator: Any,
        latents: torch.Tensor | None,
        sample_posterior: bool,
        count: int,
        steps: tuple[int, Sequence[float] | None],
        callback: tuple[Callable[..., dict] | None, Sequence[str]],
    ) -> torch.Tensor:
        """Computes the latents of `count` answers to every query. Arguments: see `__call__`."""
        device, dtype = self._execution_device, self.transformer.dtype
        # 1. Encode; all that the autoencoder has to do comes before the transformer is needed.
        posterior = self._posterior(queries, examples.height, examples.width)
        query_latents = self._latents(posterior, generator, sample_posterior, count)

        # 2. Initial noise.
        target_frames = 1 + (examples.target_frames - 1) // self.temporal_ratio
        shape = (len(query_latents), query_latents.shape[1], target_frames, *query_latents.shape[-2:])
        latents = self._noise(shape, generator, latents).to(device, dtype).float()
        # 3. What stays the same over the steps.
        set_times(self.scheduler, *steps, device)
        times = self.scheduler.timesteps.to(device, torch.float32) / self.scheduler.config.num_train_timesteps
        passes, of_step = self._passes(examples, query_latents, target_frames, times)
        # 4. Move the noise along the velocity.
        return self._sample(latents, passes, of_step, times, *callback)

    def decode_latents(self, latents: torch.Tensor) -> torch.Tensor:
        """Decodes shifted and scaled latents to pixels.

        Shape:
            latents: (B, C, F, h, w) -> (B, T, 3, H, W), float32 in [0, 1].
        """
        latents = latents / self.vae.config.scaling_factor + (self.vae.config.get("shift_factor") or 0.0)
        with on_device(self.vae):
            pixels = self.vae.decode(latents.to(self.vae.dtype), return_dict=False)[0]
        return (pixels.float() / 2 + 0.5).clamp(0, 1).transpose(1, 2)

    def _images(
        self, latents: torch.Tensor, output_type: str, visual_format: Any, sizes: Sequence[Any] | None = None
    ) -> tuple[Any, list[Any] | None]:
        pixels = self.decode_latents(latents).cpu()  # (B, T, 3, H, W)
        decoded = None
        if visual_format is not None:
            shown = levels(pixels)
            decoded = [visual_format.decode(clip[0] if len(clip) == 1 else clip) for clip in shown]
        clips = list(pixels) if sizes is None else [resized(clip, *size) for clip, size in zip(pixels, sizes)]
        if output_type == "pil":
            frames = [[Image.fromarray(frame) for frame in levels(clip)] for clip in clips]
            return [clip[0] if len(clip) == 1 else clip for clip in frames], decoded
        values = [clip[0] if len(clip) == 1 else clip for clip in clips]  # (3, H, W) or (T, 3, H, W)
        alike = len({value.shape for value in values}) == 1
        if output_type == "pt":
            return torch.stack(values) if alike else values, decoded
        arrays = [value.movedim(-3, -1).numpy() for value in values]
        return np.stack(arrays) if alike else arrays, decoded

    # ------------------------------------------------------------------------------------------------------ adapters

    @classmethod
    def lora_state_dict(cls, pretrained_model_name_or_path_or_dict: Any, **kwargs: Any) -> Any:
        """Reads an adapter in diffusers' or peft's form; see `CogVideoXLoraLoaderMixin.lora_state_dict`.

        Peft's form is a folder with `adapter_config.json`; its alpha and rank come along.

        Raises:
            ValueError: The adapter also holds whole modules, or layers that are not the transformer's.
        """
        kwargs.setdefault("use_safetensors", True)  # never a pickle
        source = pretrained_model_name_or_path_or_dict
        folder = Path(source) if isinstance(source, (str, os.PathLike)) and os.path.isdir(source) else None
        if folder is None or kwargs.get("weight_name") is not None:
            return super().lora_state_dict(source, **kwargs)
        if (folder / LORA_FILE).is_file() or not (folder / "adapter_config.json").is_file():
            return super().lora_state_dict(os.fspath(source), **{**kwargs, "weight_name": LORA_FILE})
        return_metadata = kwargs.pop("return_lora_metadata", False)
        state, metadata = adapter_for_diffusers(
            load_file(folder / "adapter_model.safetensors"),
            json.loads((folder / "adapter_config.json").read_text(encoding="utf-8")),
        )
        return (state, metadata) if return_metadata else state

    # ------------------------------------------------------------------------------------------------------- folders

    @classmethod
    def load_config(cls, *args: Any, **kwargs: Any) -> Any:
        """Reads `model_index.json`; the class it names is this one, whose code is here and not in the folder.

        Published repositories name files beside the components, where `DiffusionPipeline` looks; here they are found
        in the package.
        """
        loaded = super().load_config(*args, **kwargs)
        config = loaded[0] if isinstance(loaded, tuple) else loaded
        if isinstance(config.get("_class_name"), list):
            config["_class_name"] = config["_class_name"][1]
        for name, value in config.items():
            if not name.startswith("_") and isinstance(value, list) and value[0] == SHIM:
                config[name] = [getattr(importlib.import_module("hfseg"), value[1]).__module__, value[1]]
        return loaded

    @classmethod
    def from_pretrained(cls, pretrained_model_name_or_path: str | os.PathLike, **kwargs: Any) -> "LavinDiTPipeline":
        """Loads a folder, or a repository of the Hub, which is fetched whole first; see `DiffusionPipeline`."""
        from . import vae_lavin_dit  # noqa: F401  diffusers looks for components' classes among imported modules only

        path = os.fspath(pretrained_model_name_or_path)
        if not os.path.isdir(path):
            from huggingface_hub import snapshot_download

            fetch = {key: kwargs.pop(key) for key in ("revision", "cache_dir", "token") if key in kwargs}
            offline = kwargs.pop("local_files_only", False)
            path = snapshot_download(path, local_files_only=offline, **fetch)
        return super().from_pretrained(path, **kwargs)

    def save_pretrained(self, save_directory: str | os.PathLike, *args: Any, **kwargs: Any) -> None:
        """Saves all components, so that `DiffusionPipeline.from_pretrained(folder, trust_remote_code=True)` works too.

        For that the folder gets a `pipeline.py` which imports the installed package and does nothing else.
        """
        push = kwargs.pop("push_to_hub", False)
        hub = {key: kwargs.pop(key) for key in ("repo_id", "private", "token", "commit_message") if key in kwargs}
        super().save_pretrained(os.fspath(save_directory), *args, **kwargs)
        folder = Path(save_directory)
        index = json.loads((folder / "model_index.json").read_text(encoding="utf-8"))
        index["_class_name"] = ["pipeline", "LavinDiTPipeline"]
        text = (
            '"""Finds the pipeline of this folder in the package `hfseg` (pip install hfseg)."""\n\n'
            "import hfseg.models.lavin_dit.vae_lavin_dit\nfrom hfseg import LavinDiTPipeline\n"
        )
        for name, content in (("pipeline.py", text), ("model_index.json", json.dumps(index, indent=2) + "\n")):
            write_text(folder / name, content)
        if push:
            from huggingface_hub import create_repo, upload_folder

            name = hub.pop("repo_id", folder.name)
            repository = create_repo(name, exist_ok=True, private=hub.pop("private", None), token=hub.get("token"))
            upload_folder(repo_id=repository.repo_id, folder_path=folder, **hub)
