# Copyright 2026 The hfseg authors. Licensed under the Apache License, Version 2.0.
"""Training of LaVin-DiT: the objective of J-DiT, and of ST-VAE with its discriminator.

The authors released neither; the first follows their released loss (`lib/transport`) and the paper's recipe, the second
the paper's sentences and common practice. Where they are silent:

* The condition without examples is formed as at inference, one zero latent frame and the query, with probability 0.1
  for a whole micro-batch: sequences of one length make one pass, and all ranks of a sharded model do equally many.
* With `min_examples`, every micro-batch is shown a random number of its samples' pairs.
* Latents are samples of the posterior, for conditions (as at inference) and targets alike.
* The weights of the last block that no output depends on are frozen.
"""

import json
from collections.abc import Callable, Iterable, Mapping
from pathlib import Path
from typing import Any, cast

import numpy as np
import torch
import torch.nn.functional as F
from accelerate.utils import gather_object
from diffusers.models.autoencoders.vae import DecoderOutput
from diffusers.models.modeling_outputs import AutoencoderKLOutput
from diffusers.models.modeling_utils import ModelMixin
from safetensors.torch import load_file, save_file
from torch import nn

from accelerate import Accelerator

from ...files.writing import replacing, write_json
from ...losses.flow_matching import noisy_latents, velocity_loss, velocity_of_sample
from ...training.tasks.base import Task
from .answers_lavin_dit import answer_errors
from .pipeline_lavin_dit import LavinDiTPipeline
from .scheduling_lavin_dit import LavinDiTScheduler
from .transformer_lavin_dit import PUBLISHED_SIZES, LavinDiTTransformer3DModel
from .vae_lavin_dit import LavinDiTAutoencoderKL, PixelAutoencoder

AUTOENCODERS: dict[str, type[ModelMixin]] = {"st": LavinDiTAutoencoderKL, "pixel": PixelAutoencoder}


def build_autoencoder(spec: Mapping[str, Any] | str) -> Any:
    """Builds an autoencoder from a recipe: a folder (of CogVideoX too), or `{"kind": "st" or "pixel", ...arguments}`.

    Raises:
        ValueError: An unknown kind.
    """
    if isinstance(spec, str):
        folder = Path(spec)
        folder = folder / "vae" if not (folder / "config.json").is_file() and (folder / "vae").is_dir() else folder
        settings = json.loads((folder / "config.json").read_text(encoding="utf-8"))
        kind = "pixel" if settings.get("_class_name") == "PixelAutoencoder" else "st"
        # CogVideoX's own scale of latents; its older folders do not say that they are not shifted.
        plain = {} if kind == "pixel" or "shift_factor" in settings else {"shift_factor": None}
        return AUTOENCODERS[kind].from_pretrained(folder, **plain)
    kind = spec.get("kind", "st")
    if kind not in AUTOENCODERS:
        raise ValueError(
            f"model.config.vae.kind is {kind!r}; must be one of {', '.join(AUTOENCODERS)}, or give a folder."
        )
    return AUTOENCODERS[kind](**{key: value for key, value in spec.items() if key != "kind"})


class LavinDiTForTraining(nn.Module):
    """J-DiT with the frozen autoencoder and the objective; `forward` returns the loss.

    Args:
        transformer: J-DiT, which is trained.
        vae: The autoencoder, which is not.
        scheduler: Draws times (its `shift`).
        unconditional_ratio: Probability that a micro-batch is learnt without examples.
        l1_weight: Weight of the absolute error beside the squared one; the released code has 0.1, the thesis 0.
        min_examples: In training, how many of a sample's pairs are shown at least: each micro-batch draws a number from
            here to all of them. None: always all.
    """

    def __init__(
        self,
        transformer: LavinDiTTransformer3DModel,
        vae: Any,
        scheduler: LavinDiTScheduler,
        unconditional_ratio: float = 0.1,
        l1_weight: float = 0.1,
        min_examples: int | None = None,
    ) -> None:
        super().__init__()
        if not 0 <= unconditional_ratio <= 1:
            raise ValueError(f"unconditional_ratio is {unconditional_ratio}; it is a probability.")
        if min_examples is not None and min_examples < 1:
            raise ValueError(f"min_examples is {min_examples}; give 1 or more pairs, or None for all.")
        self.transformer, self.vae, self.scheduler = transformer, vae.requires_grad_(False).eval(), scheduler
        self.unconditional_ratio, self.l1_weight, self.min_examples = unconditional_ratio, l1_weight, min_examples
        for parameter in transformer.unused_parameters().values():
            parameter.requires_grad_(False)

    @classmethod
    def from_recipe(cls, config: Mapping[str, Any], pretrained: str | None = None) -> "LavinDiTForTraining":
        """Builds from a recipe's `model` section.

        Args:
            config: `size` (a published one) and `transformer`, `vae`, `scheduler`, `unconditional_ratio`, `l1_weight`,
                `min_examples`.
            pretrained: Folder of a pipeline to go on from; `transformer` and `vae` then must not be given.

        Raises:
            ValueError: Unknown keys or sizes.
        """
        config = {key: value for key, value in config.items() if value is not None}
        own = ("unconditional_ratio", "l1_weight", "min_examples")
        known = {"size", "transformer", "vae", "scheduler", "fit_images", *own}
        if set(config) - known:
            raise ValueError(
                f"model.config has {sorted(set(config) - known)}; must be one of {', '.join(sorted(known))}."
            )
        objective = {key: config[key] for key in own if key in config}
        if pretrained is not None:
            if set(config) & {"size", "transformer", "vae", "fit_images"}:
                raise ValueError("model.pretrained brings transformer and vae; remove them from model.config.")
            pipe = LavinDiTPipeline.from_pretrained(pretrained)
            scheduler = LavinDiTScheduler(**config["scheduler"]) if "scheduler" in config else pipe.scheduler
            return cls(pipe.transformer, pipe.vae, scheduler, **objective)
        size = config.get("size")
        if size is not None and size not in PUBLISHED_SIZES:
            raise ValueError(f"model.config.size is {size!r}; must be one of {', '.join(PUBLISHED_SIZES)}.")
        sizes = {**PUBLISHED_SIZES.get(size or "", {}), **config.get("transformer", {})}
        transformer = LavinDiTTransformer3DModel(**sizes)
        scheduler = LavinDiTScheduler(**config.get("scheduler", {}))
        return cls(transformer, build_autoencoder(config.get("vae", {"kind": "st"})), scheduler, **objective)

    @property
    def config(self) -> Any:
        """The transformer's configuration."""
        return self.transformer.config

    def train(self, mode: bool = True) -> "LavinDiTForTraining":
        """Switches the transformer; the autoencoder never trains."""
        super().train(mode)
        self.vae.eval()
        return self

    def gradient_checkpointing_enable(self, gradient_checkpointing_kwargs: Mapping[str, Any] | None = None) -> None:
        """Recomputes blocks in backward."""
        self.transformer.enable_gradient_checkpointing()

    def pipeline(self) -> LavinDiTPipeline:
        """Joins the parts to a pipeline, without copying them."""
        return LavinDiTPipeline(self.transformer, self.vae, self.scheduler)

    @torch.no_grad()
    def encode(self, pixels: torch.Tensor) -> torch.Tensor:
        """Encodes clips by themselves; posterior samples, shifted and scaled.

        Shape:
            pixels: (B, N, 3, T, H, W) -> (B, N, C, F, h, w).
        """
        moments = self.encode_moments(pixels)
        return self.sample_latents(*moments)

    @torch.no_grad()
    def encode_moments(self, pixels: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor]:
        """Computes mean and spread of the posterior, before shift and scale; each (B, N, C, F, h, w)."""
        posterior = self.vae.encode(pixels.flatten(0, 1).to(self.vae.dtype)).latent_dist
        shape = pixels.shape[:2]
        return posterior.mean.unflatten(0, shape), posterior.std.unflatten(0, shape)

    def sample_latents(self, mean: torch.Tensor, std: torch.Tensor) -> torch.Tensor:
        """Draws from the posterior; shifts and scales."""
        latents = mean.float() + std.float() * torch.randn(mean.shape, device=mean.device)
        return (latents - (self.vae.config.get("shift_factor") or 0.0)) * self.vae.config.scaling_factor

    def forward(
        self,
        input_pixels: torch.Tensor | None = None,
        target_pixels: torch.Tensor | None = None,
        input_mean: torch.Tensor | None = None,
        input_std: torch.Tensor | None = None,
        target_mean: torch.Tensor | None = None,
        target_std: torch.Tensor | None = None,
    ) -> dict[str, Any]:
        """Computes the loss of images, or of precomputed posteriors of theirs.

        Args:
            input_pixels: Inputs of the examples and, last, the query, in [-1, 1].
            target_pixels: Targets of the examples and, last, the answer.
            input_mean: Mean of the inputs' posterior; with `input_std`, `target_mean`, `target_std` in place of pixels.
            input_std: Its spread.
            target_mean: Mean of the targets' posterior.
            target_std: Its spread.

        Returns:
            `loss`, and its parts in `loss_dict`.

        Shape:
            input_pixels: (B, N + 1, 3, T, H, W), target_pixels: (B, N + 1, 3, T', H, W); means and spreads:
            (B, N + 1, C, F, h, w).
        """
        if input_pixels is not None and target_pixels is not None:
            first = self._first_shown(input_pixels.shape[1] - 1)
            inputs, targets = self.encode(input_pixels[:, first:]), self.encode(target_pixels[:, first:])
        else:
            if input_mean is None or input_std is None or target_mean is None or target_std is None:
                raise ValueError("Give pixels of inputs and targets, or mean and spread of both.")
            first = self._first_shown(input_mean.shape[1] - 1)
            inputs = self.sample_latents(input_mean[:, first:], input_std[:, first:])
            targets = self.sample_latents(target_mean[:, first:], target_std[:, first:])
        query, answer = inputs[:, -1], targets[:, -1]  # (B, C, F, h, w)
        drop = self.training and torch.rand(()).item() < self.unconditional_ratio  # on the CPU: nothing waits
        if drop:
            condition = torch.cat([torch.zeros_like(query[:, :, :1]), query], dim=2)
        else:
            pairs = [clip for number in range(inputs.shape[1] - 1) for clip in (inputs[:, number], targets[:, number])]
            condition = torch.cat([*pairs, query], dim=2)
        noise = torch.randn(answer.shape, device=answer.device)  # whatever the strides
        times = self.scheduler.sample_times(len(answer), device=answer.device)
        noisy = noisy_latents(answer, noise, times)
        velocity = self.transformer(noisy, condition, times, return_dict=False)[0]
        if self.scheduler.config["prediction_type"] == "sample":
            velocity = velocity_of_sample(velocity, noisy, times)
        loss, parts = velocity_loss(velocity, answer, noise, self.l1_weight)
        return {"loss": loss, "loss_dict": parts}

    def _first_shown(self, count: int) -> int:
        """Draws the first of a micro-batch's `count` pairs that is shown; those before it are left out."""
        if not self.training or self.min_examples is None or self.min_examples >= count:
            return 0
        return int(torch.randint(count - self.min_examples + 1, ()).item())

    def save_pretrained(
        self, save_directory: str | Path, state_dict: Mapping[str, torch.Tensor] | None = None, **kwargs: Any
    ) -> None:
        """Saves a pipeline folder, with the transformer's weights from `state_dict` if given."""
        transformer = self.transformer
        if state_dict is not None:
            weights = {
                name.removeprefix("transformer."): tensor.detach().cpu()
                for name, tensor in state_dict.items()
                if name.startswith("transformer.")
            }
            # Fields that had their default when the model was built are drawn anew by diffusers, whatever they are now.
            fields = {key: value for key, value in self.transformer.config.items() if key != "_use_default_values"}
            with torch.device("meta"):
                transformer = LavinDiTTransformer3DModel.from_config(fields)
            transformer.load_state_dict(weights, assign=True)
        LavinDiTPipeline(transformer, self.vae, self.scheduler).save_pretrained(save_directory, **kwargs)


class PatchDiscriminator(nn.Sequential):
    """PatchGAN (Isola et al., 2017): strided convolutions to one score per region; leaky ReLU, group norm.

    Args:
        channels: Width of the first convolution, doubled by every further one up to eight times.
        layers: Convolutions of stride 2.

    Shape:
        (B, 3, H, W) -> (B, 1, h, w).
    """

    def __init__(self, channels: int = 64, layers: int = 3) -> None:
        widths = [channels * min(2**index, 8) for index in range(layers + 1)]
        parts: list[nn.Module] = [nn.Conv2d(3, widths[0], 4, 2, 1), nn.LeakyReLU(0.2)]
        for index in range(1, layers + 1):
            stride = 2 if index < layers else 1
            parts += [
                nn.Conv2d(widths[index - 1], widths[index], 4, stride, 1, bias=False),
                nn.GroupNorm(min(32, widths[index]), widths[index]),
                nn.LeakyReLU(0.2),
            ]
        super().__init__(*parts, nn.Conv2d(widths[-1], 1, 4, 1, 1))


class LavinDiTAutoencoderForTraining(nn.Module):
    """ST-VAE with its losses, for a run of two phases, `autoencoder` and `discriminator`.

    autoencoder: squared error + `perceptual_weight` LPIPS + `kl_weight` KL to a standard normal
        + `adversarial_weight` (- score of the reconstruction).
    discriminator: hinge loss of real against reconstructed frames.

    The paper names the four terms and no weights; ours are those usual for latent diffusion. Frames of clips are judged
    one by one.

    Args:
        vae: The autoencoder.
        perceptual_weight: 0 leaves LPIPS out, and with it the weights of VGG that torchmetrics fetches.
        kl_weight: Per element of the latents, relative to the error's mean over pixels.
        adversarial_weight: Begins when the discriminator takes part (the phase's `first_step`).
        adversarial_start: Updates without the adversarial term.
        discriminator_channels: Width of the discriminator.
        discriminator_layers: Its depth.
    """

    def __init__(
        self,
        vae: LavinDiTAutoencoderKL,
        perceptual_weight: float = 1.0,
        kl_weight: float = 1e-6,
        adversarial_weight: float = 0.1,
        adversarial_start: int = 0,
        discriminator_channels: int = 64,
        discriminator_layers: int = 3,
    ) -> None:
        super().__init__()
        self.vae = vae
        self.discriminator_sizes = {"channels": discriminator_channels, "layers": discriminator_layers}
        self.discriminator = PatchDiscriminator(**self.discriminator_sizes)
        self.perceptual_weight, self.kl_weight = perceptual_weight, kl_weight
        self.adversarial_weight, self.adversarial_start = adversarial_weight, adversarial_start
        self.updates: torch.Tensor
        self.register_buffer("updates", torch.zeros((), dtype=torch.int64))
        self.perceptual: Any = None
        if perceptual_weight:
            from torchmetrics.image.lpip import LearnedPerceptualImagePatchSimilarity

            self.perceptual = LearnedPerceptualImagePatchSimilarity("vgg").requires_grad_(False).eval()

    @property
    def config(self) -> Any:
        """The autoencoder's configuration."""
        return self.vae.config

    def train(self, mode: bool = True) -> "LavinDiTAutoencoderForTraining":
        """Switches autoencoder and discriminator; the perceptual network never trains."""
        super().train(mode)
        if self.perceptual is not None:
            self.perceptual.eval()
        return self

    def gradient_checkpointing_enable(self, gradient_checkpointing_kwargs: Mapping[str, Any] | None = None) -> None:
        """Recomputes the autoencoder's blocks in backward."""
        self.vae.enable_gradient_checkpointing()

    def reconstruct(self, pixels: torch.Tensor) -> tuple[torch.Tensor, Any]:
        """Encodes, draws from the posterior (its mean in evaluation) and decodes; returns pixels and the posterior."""
        posterior = cast(AutoencoderKLOutput, self.vae.encode(pixels)).latent_dist
        noise = torch.randn_like(posterior.mean) if self.training else torch.zeros_like(posterior.mean)
        return cast(DecoderOutput, self.vae.decode(posterior.mean + posterior.std * noise)).sample, posterior

    def forward(self, pixel_values: torch.Tensor, phase: str = "autoencoder") -> dict[str, Any]:
        """Computes the loss of one phase.

        Shape:
            pixel_values: (B, 3, T, H, W), in [-1, 1].
        """
        if phase == "discriminator":
            with torch.no_grad():
                made, _ = self.reconstruct(pixel_values)
            real, fake = (self.discriminator(clip.transpose(1, 2).flatten(0, 1)) for clip in (pixel_values, made))
            loss = (F.relu(1 - real).mean() + F.relu(1 + fake).mean()) / 2
            return {"loss": loss, "loss_dict": {"real": real.mean().detach(), "fake": fake.mean().detach()}}
        made, posterior = self.reconstruct(pixel_values)
        frames = made.transpose(1, 2).flatten(0, 1)  # (B * T, 3, H, W)
        parts = {"squared": (made - pixel_values).square().mean()}
        variance = posterior.std.square()
        parts["kl"] = 0.5 * (posterior.mean.square() + variance - 1 - posterior.logvar).mean()
        loss = parts["squared"] + self.kl_weight * parts["kl"]
        if self.perceptual is not None:
            wanted = pixel_values.transpose(1, 2).flatten(0, 1)
            parts["perceptual"] = self.perceptual.net(frames.clamp(-1, 1), wanted).mean()
            loss = loss + self.perceptual_weight * parts["perceptual"]
        parts["adversarial"] = -self.discriminator(frames).mean()
        started = (self.updates >= self.adversarial_start).float()
        loss = loss + self.adversarial_weight * started * parts["adversarial"]
        if self.training:
            self.updates += 1
        return {"loss": loss, "loss_dict": {name: part.detach() for name, part in parts.items()}}

    def trained(self, state_dict: Mapping[str, torch.Tensor] | None = None) -> tuple[Any, nn.Module]:
        """Builds autoencoder and discriminator with the weights of `state_dict` (its own without), on its device."""
        if state_dict is None:
            return self.vae, self.discriminator
        weights: dict[str, dict[str, torch.Tensor]] = {"vae": {}, "discriminator": {}}
        for name, tensor in state_dict.items():
            part, _, rest = name.partition(".")
            if part in weights:
                weights[part][rest] = tensor.detach().clone()
        with torch.device("meta"):
            vae = LavinDiTAutoencoderKL.from_config(self.vae.config)
            discriminator = PatchDiscriminator(**self.discriminator_sizes)
        vae.load_state_dict(weights["vae"], assign=True)
        discriminator.load_state_dict(weights["discriminator"], assign=True)
        return vae, discriminator

    def save_pretrained(
        self, save_directory: str | Path, state_dict: Mapping[str, torch.Tensor] | None = None, **kwargs: Any
    ) -> None:
        """Saves the autoencoder in `save_directory`, and the discriminator for a next stage in `discriminator/`."""
        vae, discriminator = self.trained(state_dict)
        vae.save_pretrained(save_directory, **kwargs)
        save_discriminator(discriminator, self.discriminator_sizes, Path(save_directory))


DISCRIMINATOR = "discriminator"


def save_discriminator(discriminator: nn.Module, sizes: Mapping[str, int], folder: Path) -> None:
    """Writes a discriminator's weights and sizes below the folder of its autoencoder."""
    place = folder / DISCRIMINATOR
    place.mkdir(parents=True, exist_ok=True)
    write_json(place / "config.json", dict(sizes))
    with replacing(place / "model.safetensors") as temporary:
        tensors = {name: tensor.detach().cpu().contiguous() for name, tensor in discriminator.state_dict().items()}
        save_file(tensors, temporary)


def saved_discriminator(spec: Any) -> tuple[dict[str, int], dict[str, torch.Tensor]] | None:
    """Reads sizes and weights of the discriminator that a stage left beside its autoencoder, if there is one."""
    place = Path(spec) / DISCRIMINATOR if isinstance(spec, (str, Path)) else None
    if place is None or not (place / "model.safetensors").is_file():
        return None
    return json.loads((place / "config.json").read_text(encoding="utf-8")), load_file(place / "model.safetensors")


@torch.no_grad()
def measure_latents(vae: Any, batches: Iterable[torch.Tensor]) -> tuple[float, float]:
    """Measures what brings latents to mean 0 and spread 1: latents = (z - shift_factor) * scaling_factor.

    Args:
        vae: The autoencoder.
        batches: Pixels in [-1, 1].

    Returns:
        `shift_factor`, the mean of all numbers of the posterior's samples, and `scaling_factor`, 1 / their standard
        deviation. Both are exact for the posterior: nothing is drawn.

    Shape:
        batches: (B, 3, T, H, W).

    Raises:
        ValueError: There is no batch, or latents do not vary.
    """
    count, total, squares = 0, 0.0, 0.0
    for pixels in batches:
        posterior = cast(AutoencoderKLOutput, vae.encode(pixels.to(vae.device, vae.dtype))).latent_dist
        mean, variance = posterior.mean.double(), posterior.std.double().square()
        count += mean.numel()
        total += float(mean.sum())
        squares += float((mean.square() + variance).sum())
    spread = max(squares / max(count, 1) - (total / max(count, 1)) ** 2, 0.0) ** 0.5
    if not spread > 0:
        raise ValueError("the latents of an autoencoder do not vary: it has learned nothing, or saw no images")
    return total / count, 1 / spread


READERS = {
    "in-context": "hfseg.data.readers.in_context:InContextDataset",
    "latents": "hfseg.data.readers.latents:LatentDataset",
    "frames": "hfseg.data.readers.frames:FramesDataset",
    "table_folder": "hfseg.data.readers.table_folders:load_side",
}
COLLATORS = {
    "in-context": "hfseg.data.readers.in_context:InContextCollator",
    "latents": "hfseg.data.readers.latents:collate_latents",
    "frames": "hfseg.data.readers.frames:FramesCollator",
}


class LavinDiTTask(Task):
    """J-DiT. `model.config` has `size` or `transformer`, `vae`, `scheduler` and the objective's arguments.

    A pixel autoencoder with fewer channels than pixels is fitted to `model.config.fit_images` samples of the data.
    `run.evaluation` may have `answers`, a number of held-out samples per task for which images are generated in
    `steps` (10) inference steps: their errors then are measured beside the loss, of the tasks that are trained and of
    those that are not (`answers_lavin_dit.answer_errors`).
    """

    library_name = "diffusers"
    pipeline_tag = "image-to-image"
    datasets = READERS
    collators = COLLATORS
    default_collator = "in-context"
    takes_backbone = False

    def build_model(self, dataset: Any, load_backbone: bool = True) -> nn.Module:
        """Builds transformer, autoencoder and objective, new or from the folder of a pipeline."""
        config = dict(self.arguments.model.config)
        model = LavinDiTForTraining.from_recipe(config, self.pretrained)
        pairs = getattr(dataset, "num_examples", None)
        if model.min_examples is not None and pairs is not None and model.min_examples > pairs:
            raise ValueError(
                f"model.config.min_examples is {model.min_examples}, but samples have {pairs} pairs "
                "(data.train.num_examples)."
            )
        if pairs is not None:
            model.transformer.register_to_config(max_examples=int(pairs))
        if config.get("fit_images"):
            model.vae.fit(self._images(dataset, int(config["fit_images"])))
        return model

    def _images(self, dataset: Any, count: int) -> torch.Tensor:
        """Reads queries and targets of the first samples, (2 count, 3, H, W)."""
        collate = self.build_collator(dataset, nn.Identity(), None)
        images = []
        for index in range(min(count, len(dataset))):
            batch = collate([dataset[index]])
            images += [batch[name][0, -1].transpose(0, 1) for name in ("input_pixels", "target_pixels")]
        return torch.cat(images)

    def evaluate(
        self,
        model: nn.Module,
        processor: Any,
        dataset: Any,
        collate: Callable[[list], Mapping[str, Any]],
        accelerator: Accelerator,
    ) -> dict[str, float]:
        """Measures the loss, and where the recipe asks for it the errors of generated images."""
        numbers = self.evaluate_loss(model, dataset, collate, accelerator)
        options = dict(self.arguments.run.evaluation)
        if not options.get("answers"):
            return numbers
        inner = cast(LavinDiTForTraining, accelerator.unwrap_model(model, keep_torch_compile=False))
        pipe = LavinDiTPipeline(inner.transformer, inner.vae, inner.scheduler)
        trained = {str(name) for name in self.arguments.data.train.get("tasks", ())}
        return numbers | answer_errors(
            pipe,
            dataset,
            trained,
            int(options["answers"]),
            int(options.get("steps", 10)),
            float(options.get("guidance_scale", 1.5)),
            accelerator.process_index,
            accelerator.num_processes,
        )

    def offered(self, dataset: Any, model: nn.Module, processor: Any) -> dict[str, Any]:
        """Offers collators nothing: images are resized by `data.collator`."""
        return {}

    def build_processor(self, model: nn.Module) -> None:
        """Returns None: the pipeline prepares its images itself."""

    def example(self, name: str) -> str:
        """Shows the use of the trained pipeline."""
        return (
            "from diffusers import DiffusionPipeline\n\n"
            f'pipe = DiffusionPipeline.from_pretrained("{name}", trust_remote_code=True)\n'
            'print(pipe("query.png", [("input.png", "target.png")]).images[0])'
        )


class AutoencoderTask(Task):
    """ST-VAE with a discriminator: a recipe of two phases, `autoencoder` and `discriminator`.

    `model.config` has `vae`, the arguments of `LavinDiTAutoencoderForTraining` and `latent_samples` (256): of so many
    training samples the trained autoencoder's `shift_factor` and `scaling_factor` are measured and written; 0 keeps
    those it has. The discriminator is saved beside it, and a stage that starts from the folder goes on with it.
    """

    library_name = "diffusers"
    pipeline_tag = "image-to-image"
    datasets = READERS
    collators = COLLATORS
    default_collator = "frames"
    takes_backbone = False

    def build_model(self, dataset: Any, load_backbone: bool = True) -> nn.Module:
        """Builds the autoencoder, new or from a folder, with its discriminator.

        Raises:
            ValueError: The folder's discriminator has other sizes than the recipe says.
        """
        config = dict(self.arguments.model.config)
        self.latent_samples, self.dataset = int(config.pop("latent_samples", 256)), dataset
        spec = self.pretrained or config.pop("vae", {"kind": "st"})
        config.pop("vae", None)
        vae, saved = build_autoencoder(spec), saved_discriminator(spec)
        if saved is not None:
            for name, value in saved[0].items():
                if config.setdefault(f"discriminator_{name}", value) != value:
                    raise ValueError(
                        f"model.config.discriminator_{name} is {config[f'discriminator_{name}']}, the discriminator of "
                        f"{spec} has {value}: leave it out, or remove {Path(spec) / DISCRIMINATOR} to begin a new one."
                    )
        model = LavinDiTAutoencoderForTraining(vae, **config)
        if saved is not None:
            model.discriminator.load_state_dict(saved[1])
        return model

    def example(self, name: str) -> str:
        """Shows how the autoencoder is loaded, and what trains on it."""
        return (
            "from hfseg.models.lavin_dit.vae_lavin_dit import LavinDiTAutoencoderKL\n\n"
            f'vae = LavinDiTAutoencoderKL.from_pretrained("{name}")\n'
            f"print(vae.config.shift_factor, vae.config.scaling_factor)\n"
            f"# hfseg train --recipe lavin-dit-3.4b-stage1 model.config.vae={name} --output_dir DIR"
        )

    def offered(self, dataset: Any, model: nn.Module, processor: Any) -> dict[str, Any]:
        """Offers collators nothing."""
        return {}

    def build_processor(self, model: nn.Module) -> None:
        """Returns None: there is no processor."""

    def evaluate(
        self,
        model: nn.Module,
        processor: Any,
        dataset: Any,
        collate: Callable[[list], Mapping[str, Any]],
        accelerator: Accelerator,
    ) -> dict[str, float]:
        """Measures the autoencoder's loss and PSNR (decibels, mean over samples); the discriminator's says nothing."""
        parts = self.evaluate_loss(model, dataset, collate, accelerator)
        raw = accelerator.unwrap_model(model, keep_torch_compile=False).eval()
        values = []
        for index in range(accelerator.process_index, len(dataset), accelerator.num_processes):
            pixels = collate([dataset[index]])["pixel_values"].to(accelerator.device)
            with torch.no_grad():
                made, _ = raw.reconstruct(pixels)
            error = (made.float().clamp(-1, 1) - pixels).square().mean()
            values.append(10 * torch.log10(4 / error.clamp(min=1e-10)))
        return {**parts, "psnr": float(np.mean(gather_object([float(value) for value in values])))}

    def save(self, model: nn.Module, folder: Path, state_dict: Mapping[str, torch.Tensor]) -> None:
        """Measures the scale of the latents, and writes autoencoder and discriminator."""
        training = cast(LavinDiTAutoencoderForTraining, model)
        vae, discriminator = training.trained(state_dict)
        if self.latent_samples:
            collate = self.build_collator(self.dataset, model, None, training=False)
            places = np.linspace(0, len(self.dataset) - 1, min(self.latent_samples, len(self.dataset))).round()
            batches = (collate([self.dataset[int(place)]])["pixel_values"] for place in places)
            shift, scale = measure_latents(vae.eval(), batches)
            vae.register_to_config(shift_factor=shift, scaling_factor=scale)
        vae.save_pretrained(folder)
        save_discriminator(discriminator, training.discriminator_sizes, folder)
