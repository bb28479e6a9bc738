# Copyright 2026 The hfseg authors. Licensed under the Apache License, Version 2.0.
# Sub-configurations and outputs are optional by their declared types only.
"""Pre-training of UniSegFormer: data, measures on held-out pairs, and the cost on paper."""

from collections.abc import Callable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any, cast

import torch
from torch import nn
from torch.utils.flop_counter import FlopCounterMode
from transformers import AutoTokenizer, SiglipTextConfig

from accelerate import Accelerator

from ...data.collators.collation import SemanticCollator
from ...data.readers.images import to_rgb
from ...data.readers.pretraining import PreTrainingMixture
from ...data.readers.reading import TolerantDataset
from ...data.readers.union import LARGE_IGNORE_INDEX, SegmentationUnion
from ...data.synthetic.shapes_captions import caption_tokenizer
from ...files.tokenizers import check_tokenizer
from ...layers.mask_decoder import close_invalid_queries, mask_logits
from ...metrics.mean_iou import MeanIoU
from ...training.cost_sheet import Machines, cost_sheet
from ...training.linear_probe import linear_probe
from ...training.tasks.base import Task, call, find
from ..outputs import MaskClassificationOutput
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

    `data.train` and `data.validation` hold `pairs`, and optionally `segments`: a `reader` and its arguments, or a list
    of these, whose classes are united (`data.readers.union`). A reader of the list may have `repeat` (passes of it in
    one of the union); `aliases` beside the list are those of the union. Datasets are called after their `name`, or
    their folder, or their reader, with a number where that occurs before.
    `model.tokenizer` is a folder or Hub id, or `shapes` for the captions of the embedded scenes. `run.evaluation` takes
    `probe_images` (images to fit the linear probe on, 0 for none), `segmentation_images` (held-out images of every
    dataset with segments to measure mIoU on, null for all, 0 for none) and `seed`; `plan` describes the machines of the
    cost sheet (`training.cost_sheet.Machines`), `image_size` the sides it is computed for.
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
        unknown = sorted(set(spec) - {"pairs", "segments", "aliases"})
        if unknown or "pairs" not in spec:
            raise ValueError(
                f"data.name=mixture takes pairs, segments and aliases, not {', '.join(unknown) or 'segments alone'}."
            )
        segments = spec.get("segments")
        if isinstance(segments, list | tuple):
            return PreTrainingMixture(self._reader(spec["pairs"], "pairs"), self._union(segments, spec.get("aliases")))
        if spec.get("aliases"):
            raise ValueError("aliases unite the classes of several datasets: make segments a list of readers.")
        return PreTrainingMixture(*(self._reader(spec.get(part), part) for part in ("pairs", "segments")))

    def _reader(self, spec: Mapping[str, Any] | None, part: str) -> Any:
        if spec is None:
            return None
        if not isinstance(spec, Mapping):
            raise ValueError(
                f"data.train.{part} is {spec!r}; it needs a reader and its arguments. Only segments may be a list; "
                "shards of pairs are listed in `shards`."
            )
        given = dict(spec)
        name = given.pop("reader", None)
        if name is None:
            raise ValueError(f"data.train.{part} needs a reader: one of {', '.join(self.datasets)}.")
        dataset = call(find(name, self.datasets, f"data.train.{part}.reader"), given, {}, f"data.train.{part} {name}")
        # Segments are read by the collator, behind the loop's own tolerance.
        tolerant = part != "pairs" and self.arguments.data.on_error == "skip"
        return TolerantDataset(dataset, on_error="skip") if tolerant else dataset

    def _union(self, specs: Sequence[Any], aliases: Mapping[str, str] | None) -> SegmentationUnion:
        """Opens several datasets with segments, and unites their classes."""
        parts, repeat = {}, {}
        for position, spec in enumerate(specs):
            given = dict(spec) if isinstance(spec, Mapping) else spec
            times = given.pop("repeat", 1) if isinstance(given, dict) else 1
            dataset = self._reader(given, f"segments[{position}]")
            name = str(given.get("name") or Path(str(given.get("path") or given["reader"])).name)
            while name in parts:
                name = f"{name}-{position + 1}"
            parts[name], repeat[name] = dataset, times
        return SegmentationUnion(parts, repeat, aliases)

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
        options = {"probe_images": 64, "segmentation_images": None, "seed": 0, "plan": None, "image_size": None}
        unknown = sorted(set(self.arguments.run.evaluation) - set(options))
        if unknown:
            raise ValueError(f"run.evaluation takes no {', '.join(unknown)}; must be one of {', '.join(options)}.")
        options |= self.arguments.run.evaluation
        pretrained = cast(UniSegFormerForPreTraining, model)
        generator = torch.Generator().manual_seed(int(options["seed"] or 0))
        numbers = self._of_pairs(pretrained, dataset, collate, accelerator.device, generator)
        held_out = _parts(dataset)
        if not held_out:
            return numbers
        image_processor = getattr(processor, "image_processor", processor)
        probe_images = int(options["probe_images"] or 0)
        training = _parts(self.build_dataset(self.arguments.data.train)) if probe_images else {}
        for name, part in held_out.items():
            ending = f"_{name}" if name else ""
            limit = options["segmentation_images"]
            count = len(part) if limit is None else min(int(limit), len(part))
            if count:
                aliases = self.arguments.data.train.get("aliases")
                class_ids = model_classes(pretrained.config.label2id or {}, part.id2label, aliases)
                numbers[f"mean_iou{ending}"] = held_out_mean_iou(pretrained, image_processor, part, class_ids, count)
            if name in training:
                numbers[f"probe_mean_iou{ending}"] = linear_probe(
                    lambda pixels: pretrained.model(pixels.to(accelerator.device)).last_hidden_state,
                    _labeled(training[name], probe_images),
                    _labeled(part, len(part)),
                    len(part.id2label),
                    LARGE_IGNORE_INDEX,
                )
        return numbers

    def _of_pairs(
        self, model: UniSegFormerForPreTraining, dataset: Any, collate: Callable, device: Any, generator: Any
    ) -> dict[str, float]:
        """Measures the reconstruction of held-out images, and retrieval if they have texts."""
        errors, images, texts = [], [], []
        size = self.arguments.data.batch_size
        for start in range(0, len(dataset), size):
            batch = collate([dataset[index] for index in range(start, min(start + size, len(dataset)))])
            pixels = batch["pixel_values"].to(device)
            hidden = model.draw_mask(batch["pixel_values"], generator).to(device)
            outputs = model(pixel_values=pixels, masked_units=hidden)
            errors.append(outputs.loss_dict["loss_mim"].item() * len(pixels))
            if "input_ids" in batch:
                seen = model(pixels, batch["input_ids"].to(device), masked_units=None, embeddings_only=True)
                images.append(model.image_features(pixels)[1])
                texts.append(seen.text_embeds)
        numbers = {"reconstruction": sum(errors) / len(dataset) / float(model.config.mim_weight or 1)}
        return numbers | retrieval(torch.cat(images), torch.cat(texts)) if images else numbers

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


def _parts(dataset: Any) -> dict[str, Any]:
    """Datasets with segments of pre-training data by name; a single one has the name ""."""
    segments = dataset.segments
    if isinstance(segments, SegmentationUnion):
        return segments.parts
    if segments is None:
        segments = dataset.pairs
        if not getattr(segments, "id2label", None) or "segments_info" not in segments[0]:
            return {}
    return {"": segments}


def _labeled(dataset: Any, count: int) -> Iterator[tuple[torch.Tensor, torch.Tensor]]:
    """Batches of up to `count` images and class maps, read one batch at a time."""
    collate = _semantic(dataset)
    for start in range(0, min(count, len(dataset)), 16):
        batch = collate([dataset[index] for index in range(start, min(start + 16, count, len(dataset)))])
        yield batch["pixel_values"], batch["labels"]


def _semantic(dataset: Any) -> SemanticCollator:
    ignore_index = getattr(dataset, "ignore_index", 255)
    return SemanticCollator(ignore_index, num_labels=len(dataset.id2label), label_ignore_index=LARGE_IGNORE_INDEX)


def model_classes(
    label2id: Mapping[str, Any], id2label: Mapping[int, str], aliases: Mapping[str, str] | None = None
) -> list[int]:
    """Finds the model's class of every class of a dataset by its name, as `SegmentationUnion` unites them.

    Raises:
        ValueError: The model was built without one of them.
    """
    known = {label.strip().casefold(): int(number) for label, number in label2id.items()}
    other = {old.strip().casefold(): new.strip().casefold() for old, new in (aliases or {}).items()}
    names = [str(id2label[class_id]).strip().casefold() for class_id in range(len(id2label))]
    missing = [name for name in names if other.get(name, name) not in known]
    if missing:
        raise ValueError(
            f"data.validation has the class(es) {', '.join(missing[:5])}, which are not in the training data; no mIoU "
            "of them can be measured."
        )
    return [known[other.get(name, name)] for name in names]


def held_out_mean_iou(
    model: UniSegFormerForPreTraining, image_processor: Any, dataset: Any, class_ids: Sequence[int], count: int
) -> float:
    """Measures the mIoU, in percent, of the mask head on the first images of a dataset, one image at a time.

    The head chooses among the classes of this dataset only: others of the union are not annotated in it, so what it
    says of them cannot be right or wrong.

    Args:
        model: In evaluation mode.
        image_processor: Resizes images, and class maps back to the images' own sizes.
        dataset: With segments or class maps, `id2label` and `ignore_index`.
        class_ids: The model's class of each class of the dataset; several may share one.
        count: Number of images.
    """
    shared = list(dict.fromkeys(class_ids))
    columns = [*shared, int(model.config.num_labels or 0)]
    own = torch.tensor([shared.index(number) for number in class_ids])
    metric = MeanIoU({number: str(number) for number in range(len(shared))}, LARGE_IGNORE_INDEX)
    collate = _semantic(dataset)
    for index in range(count):
        example = dataset[index]
        inputs = image_processor(example["image"], return_tensors="pt")
        maps = model.model(inputs["pixel_values"].to(model.device)).decoder_maps
        predicted = model.mask_head(maps)
        embeddings, pixels = predicted.mask_embeddings[-1], predicted.pixel_embedding
        outputs = MaskClassificationOutput(
            class_queries_logits=close_invalid_queries(
                predicted.class_logits[-1][..., columns], predicted.valid_queries
            ),
            masks_queries_logits=mask_logits(embeddings, pixels, precise=model.config.mask_positions),
        )
        height, width = to_rgb(example["image"]).shape[:2]
        labels = collate([example])["labels"][0, :height, :width]
        known = labels != LARGE_IGNORE_INDEX
        truth = torch.where(known, own[labels.where(known, 0)], LARGE_IGNORE_INDEX)
        found = image_processor.post_process_semantic_segmentation(outputs, target_sizes=[(height, width)])[0]
        metric.add(prediction=found.cpu().numpy(), reference=truth.numpy())
    return float(metric.compute()["mean_iou"])


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
