# Copyright 2026 The hfseg authors. Licensed under the Apache License, Version 2.0.
# Sub-configurations and outputs are optional by their declared types only.
"""Pre-training of UniSegFormer: data, measures on held-out pairs, and the cost on paper."""

from collections.abc import Callable, Iterator, Mapping
from pathlib import Path
from typing import Any, cast

import torch
from torch import nn
from torch.utils.flop_counter import FlopCounterMode
from transformers import AutoTokenizer, SiglipTextConfig

from accelerate import Accelerator

from ...data.collators.collation import SemanticCollator
from ...data.readers.pretraining import PreTrainingMixture
from ...data.synthetic.shapes_captions import caption_tokenizer
from ...files.tokenizers import check_tokenizer
from ...training.cost_sheet import Machines, cost_sheet
from ...training.linear_probe import linear_probe
from ...training.tasks.base import Task, call, find
from ..sub_configs import sub_config
from .pretraining_unisegformer import UniSegFormerForPreTraining

SHAPES_TOKENIZER = "shapes"


class Preparation:
    """Image processor and tokenizer, saved side by side."""

    def __init__(self, image_processor: Any, tokenizer: Any) -> None:
        self.image_processor, self.tokenizer = image_processor, tokenizer

    def save_pretrained(self, folder: str | Path) -> None:
        """Writes both into the model's folder."""
        for part in (self.image_processor, self.tokenizer):
            if part is not None:
                part.save_pretrained(folder)


class UniSegFormerPreTrainingTask(Task):
    """Pairs with a share of segments.

    `data.train` and `data.validation` hold `pairs`, and optionally `segments`: a `reader` and its arguments.
    `model.tokenizer` is a folder or Hub id, or `shapes` for the captions of the embedded scenes. `run.evaluation` takes
    `probe_images` (images to fit the linear probe on, 0 for none) and `seed`; `plan` describes the machines of the cost
    sheet (`training.cost_sheet.Machines`), `image_size` the sides it is computed for.
    """

    auto_class = "AutoModelForPreTraining"
    pipeline_tag = "image-feature-extraction"
    datasets = {
        **Task.datasets,
        "captioned_shapes": "hfseg.data.synthetic.shapes_captions:CaptionedShapes",
        "shards": "hfseg.data.readers.image_text:ImageTextShards",
        "mixture": "hfseg.data.readers.pretraining:PreTrainingMixture",
    }
    collators = {**Task.collators, "pretraining": "hfseg.data.readers.pretraining:PreTrainingCollator"}
    default_collator = "pretraining"

    def build_dataset(self, spec: Mapping[str, Any]) -> Any:
        """Builds the pairs and the images with segments.

        Raises:
            ValueError: `pairs` is missing, or a reader is unknown.
        """
        if self.arguments.data.name != "mixture":
            return PreTrainingMixture(super().build_dataset(spec))
        unknown = sorted(set(spec) - {"pairs", "segments"})
        if unknown or "pairs" not in spec:
            raise ValueError(
                f"data.name=mixture takes pairs and segments, not {', '.join(unknown) or 'segments alone'}."
            )
        return PreTrainingMixture(*(self._reader(spec.get(part), part) for part in ("pairs", "segments")))

    def _reader(self, spec: Mapping[str, Any] | None, part: str) -> Any:
        if spec is None:
            return None
        given = dict(spec)
        name = given.pop("reader", None)
        if name is None:
            raise ValueError(f"data.train.{part} needs a reader: one of {', '.join(self.datasets)}.")
        return call(find(name, self.datasets, f"data.train.{part}.reader"), given, {}, f"data.train.{part} {name}")

    def build_processor(self, model: nn.Module) -> Preparation:
        """Builds the image processor and loads the tokenizer."""
        source = self.arguments.model.tokenizer or self.pretrained
        if source is None:
            tokenizer = None
        elif source == SHAPES_TOKENIZER:
            tokenizer = caption_tokenizer()
        else:
            try:
                tokenizer = AutoTokenizer.from_pretrained(source)
                check_tokenizer(tokenizer)
            except (OSError, ValueError, KeyError) as error:
                raise ValueError(f"No tokenizer can be read from {source!r}: {error}") from error
        vocab_size = sub_config(cast(UniSegFormerForPreTraining, model).config.text_config, SiglipTextConfig).vocab_size
        if tokenizer is not None and len(tokenizer) > vocab_size:
            raise ValueError(
                f"The tokenizer has {len(tokenizer)} tokens, the text tower only "
                f"{vocab_size}: raise model.config.text_config.vocab_size."
            )
        return Preparation(super().build_processor(model), tokenizer)

    def evaluate(
        self,
        model: nn.Module,
        processor: Any,
        dataset: Any,
        collate: Callable[[list], Mapping[str, Any]],
        accelerator: Accelerator,
    ) -> dict[str, float]:
        """Measures held-out reconstruction, retrieval among all held-out pairs, and a linear probe of the decoder."""
        options = {"probe_images": 64, "seed": 0, "plan": None, "image_size": None}
        unknown = sorted(set(self.arguments.run.evaluation) - set(options))
        if unknown:
            raise ValueError(f"run.evaluation takes no {', '.join(unknown)}; must be one of {', '.join(options)}.")
        options |= self.arguments.run.evaluation
        device, size = accelerator.device, self.arguments.data.batch_size
        generator = torch.Generator().manual_seed(int(options["seed"] or 0))
        pretrained = cast(UniSegFormerForPreTraining, model)
        errors, images, texts = [], [], []
        for start in range(0, len(dataset), size):
            batch = collate([dataset[index] for index in range(start, min(start + size, len(dataset)))])
            pixels = batch["pixel_values"].to(device)
            hidden = pretrained.draw_mask(batch["pixel_values"], generator).to(device)
            outputs = model(pixel_values=pixels, masked_units=hidden)
            errors.append(outputs.loss_dict["loss_mim"].item() * len(pixels))
            if "input_ids" in batch:
                seen = model(pixels, batch["input_ids"].to(device), masked_units=None, embeddings_only=True)
                whole = pretrained.image_features(pixels)[1]
                images.append(whole)
                texts.append(seen.text_embeds)
        numbers = {"reconstruction": sum(errors) / len(dataset) / float(pretrained.config.mim_weight or 1)}
        if images:
            numbers |= retrieval(torch.cat(images), torch.cat(texts))
        count = int(options["probe_images"] or 0)
        if count and "segments" in dataset[0] and dataset.id2label:
            numbers["probe_mean_iou"] = linear_probe(
                lambda pixels: pretrained.model(pixels.to(device)).last_hidden_state,
                self._labeled(self.build_dataset(self.arguments.data.train), count),
                self._labeled(dataset, len(dataset)),
                len(dataset.id2label),
            )
        return numbers

    def _labeled(self, dataset: Any, count: int) -> Iterator[tuple[torch.Tensor, torch.Tensor]]:
        collate = SemanticCollator(ignore_index=dataset.ignore_index, num_labels=len(dataset.id2label))
        for start in range(0, min(count, len(dataset)), 16):
            batch = collate([dataset[i]["segments"]() for i in range(start, min(start + 16, count, len(dataset)))])
            yield batch["pixel_values"], batch["labels"]

    def cost_sheet(self) -> str:
        """Counts one sample's operations on the meta device and writes the sheet for the planned machines."""
        options = self.arguments.run.evaluation
        if options.get("plan") is None:
            return ""
        machines = Machines(**options["plan"])
        height, width = options.get("image_size") or (640, 640)
        with torch.device("meta"):
            twin: Any = self.build_model(None, load_backbone=False)
        config: Any = twin.config
        pixels = torch.empty(1, 3, height, width, device="meta")
        length = config.text_config.max_position_embeddings
        units = (-(-height // config.mim_patch)) * (-(-width // config.mim_patch))
        hidden = torch.zeros(1, units, dtype=torch.bool, device="meta")
        work = {
            "masked image": lambda: twin.image_features(pixels, hidden),
            "text": lambda: twin.text_features(torch.zeros(1, length, dtype=torch.int64, device="meta")),
            "segmentation": lambda: twin.mask_head(twin.model(pixels).decoder_maps),
        }
        share = self.arguments.data.collator.get("segmentation_share", 0.1)
        counted = {}
        twin.requires_grad_(False)  # the counter cannot follow weights that want gradients where there are none
        for name, compute in work.items():
            with FlopCounterMode(display=False) as counter, torch.no_grad():
                compute()
            counted[name] = counter.get_total_flops() / 2 * (float(share) if name == "segmentation" else 1.0)
        twin.requires_grad_(True)
        saved = 2 * kept_elements(twin, pixels, hidden)  # bf16
        parameters = {
            name: sum(parameter.numel() for parameter in part.parameters())
            for name, part in (("encoder", twin.model.encoder), ("text", twin.text_model), ("all", twin))
        }
        parameters["other"] = parameters.pop("all") - parameters["encoder"] - parameters["text"]
        run, data = self.arguments.run, self.arguments.data
        batch = data.batch_size * run.gradient_accumulation_steps * machines.processes
        updates = run.max_steps or round((run.epochs or 1) * 1.2e9 / batch)
        return cost_sheet(
            parameters, counted, saved, data.batch_size, run.gradient_accumulation_steps, updates, machines
        )


def kept_elements(model: Any, pixels: torch.Tensor, hidden: torch.Tensor) -> int:
    """Counts the numbers that a forward of the encoder keeps for backward, on the meta device."""
    weights = {parameter.untyped_storage()._cdata for parameter in model.parameters()}
    kept: dict[int, torch.Tensor] = {}  # held, so that no storage is counted for another one's place

    def pack(tensor: torch.Tensor) -> torch.Tensor:
        if tensor.untyped_storage()._cdata not in weights:
            kept[tensor.untyped_storage()._cdata] = tensor
        return tensor

    with torch.autograd.graph.saved_tensors_hooks(pack, lambda tensor: tensor), torch.enable_grad():
        model.image_features(pixels, hidden)
    return sum(tensor.untyped_storage().nbytes() // tensor.element_size() for tensor in kept.values())


def retrieval(images: torch.Tensor, texts: torch.Tensor, depths: tuple[int, ...] = (1, 5)) -> dict[str, float]:
    """Measures how often the own text is among the K nearest to an image, and the own image to a text, in percent.

    Only what is nearer by more than rounding stands before the own one: of pairs with the same text, none is a mistake.

    Shape:
        images, texts: `(N, D)`, L2-normalized.
    """
    scores = images @ texts.t()
    own = scores.diagonal()
    before = {
        "text_retrieval": (scores > own[:, None] + 1e-6).sum(1),
        "image_retrieval": (scores > own[None, :] + 1e-6).sum(0),
    }
    numbers = {
        f"{name}_{depth}": 100 * (ranks < depth).float().mean().item()
        for depth in depths
        for name, ranks in before.items()
    }
    return numbers | {"retrieval_chance": 100 / len(images)}
