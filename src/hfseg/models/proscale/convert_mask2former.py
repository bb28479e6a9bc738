# Copyright 2026 The hfseg authors. Licensed under the Apache License, Version 2.0.
"""Conversion of a whole Mask2Former folder: model, image processor and card, ready for `pipeline()`.

`encoder="full"` keeps every weight (the same network); any other encoder is a warm start (`warm_start`).
"""

import json
import logging
import os
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any, NamedTuple, cast

from huggingface_hub import ModelCardData
from transformers.utils import cached_file

from ...files.label_sets import recognize_label_set
from ...files.writing import write_text
from .image_processing_pil_proscale import ProScaleImageProcessorPil
from .image_processing_proscale import ProScaleImageProcessor
from .modeling_proscale import ProScaleForUniversalSegmentation

logger = logging.getLogger(__name__)

PREPROCESSOR, CONFIG = "preprocessor_config.json", "config.json"
# What a Mask2Former's processor says under the same name and with the same meaning as ours.
_SAME = (
    "do_resize",
    "do_rescale",
    "rescale_factor",
    "do_normalize",
    "image_mean",
    "image_std",
    "resample",
    "do_pad",
    "num_labels",
)
_RELATIVES = {
    "maskformer": "MaskFormer predicts one class per mask with another decoder",
    "oneformer": "OneFormer is conditioned on a task text",
    "eomt": "EoMT is a plain ViT without pixel decoder",
}


class Mask2FormerConversion(NamedTuple):
    """What `from_mask2former` gives: the model in evaluation mode and its image processor."""

    model: ProScaleForUniversalSegmentation
    image_processor: ProScaleImageProcessor | ProScaleImageProcessorPil


def processor_settings(published: Mapping[str, Any]) -> dict[str, Any]:
    """Translates a `preprocessor_config.json` of Mask2Former, of any release of transformers, to our processor's names.

    Old and new names: `feature_extractor_type` or `image_processor_type`; `reduce_labels` or `do_reduce_labels`;
    `size` a number (the shortest edge, with `max_size` for the longest), a pair or a dictionary; `size_divisor` or
    `size_divisibility`, where 0 or nothing becomes 32, the network's stride.

    Args:
        published: Content of the file.

    Raises:
        ValueError: If `size` is none of these, or the labels are of an unknown kind.
    """
    settings = {name: published[name] for name in _SAME if published.get(name) is not None}
    size, longest = published.get("size"), published.get("max_size")
    if isinstance(size, bool) or not isinstance(size, (int, float, list, tuple, Mapping, type(None))):
        raise ValueError(f"{PREPROCESSOR}: size is {size!r}; it must be a number, a pair or a dictionary.")
    if isinstance(size, (int, float)):
        settings["size"] = {"shortest_edge": int(size)} | ({} if longest is None else {"longest_edge": int(longest)})
    elif isinstance(size, (list, tuple)):
        if len(size) != 2:
            raise ValueError(f"{PREPROCESSOR}: size is {size!r}; a list must be (height, width).")
        settings["size"] = {"height": int(size[0]), "width": int(size[1])}
    elif isinstance(size, Mapping):
        edges = {key: int(value) for key, value in size.items() if value is not None}
        if "shortest_edge" in edges and "longest_edge" not in edges and longest is not None:
            edges["longest_edge"] = int(longest)
        settings["size"] = edges
    elif longest is not None:
        settings["size"] = {"shortest_edge": 800, "longest_edge": int(longest)}
    divisor = published.get("size_divisor", published.get("size_divisibility"))
    settings["size_divisor"] = int(divisor) if divisor else 32
    if "ignore_index" in published:
        settings["ignore_index"] = published["ignore_index"]
    reduce_labels = published.get("do_reduce_labels", published.get("reduce_labels"))
    if reduce_labels is not None:
        settings["do_reduce_labels"] = bool(reduce_labels)
    return settings


def _read_json(source: str, name: str, required: bool, **hub: Any) -> dict[str, Any] | None:
    """Reads a JSON file of a folder or a Hub repository; None if it has none and need not."""
    try:
        file = cached_file(source, name, _raise_exceptions_for_missing_entries=False, **hub)
    except OSError as error:
        raise FileNotFoundError(f"{source} is no folder, and the Hub gives no {name} of it: {error}") from error
    if file is None:
        if required:
            raise FileNotFoundError(f"{source} has no {name}: give the folder or Hub id of a Mask2Former.")
        return None
    try:
        content = json.loads(Path(file).read_text(encoding="utf-8-sig"))
    except ValueError as error:
        raise ValueError(f"{source}: {name} is not valid JSON ({error}).") from error
    if not isinstance(content, dict):
        raise ValueError(f"{source}: {name} holds a {type(content).__name__}; it must hold an object.")
    return content


def read_processor(source: str | os.PathLike[str], **changes: Any) -> ProScaleImageProcessor:
    """Builds the image processor for a Mask2Former without loading its weights.

    Args:
        source: Folder or Hub id.
        **changes: Fields of the image processor that win.

    Raises:
        FileNotFoundError, ValueError: As `from_mask2former`.
    """
    published = _read_json(os.fspath(source), PREPROCESSOR, required=False)
    return ProScaleImageProcessor(**{**processor_settings(published or {}), **changes})


def _check_kind(source: str, config: Mapping[str, Any]) -> None:
    """Refuses folders of other models, by name."""
    kind = config.get("model_type")
    if kind == "mask2former":
        return
    why = _RELATIVES.get(str(kind))
    reason = f": {why}" if why else ""
    raise ValueError(f"{source} is a model of type {kind!r}, not 'mask2former'{reason}. Give a Mask2Former.")


def _stuff_classes(id2label: Mapping[int, str], source: str) -> list[int] | None:
    """Stuff classes of a known label set; None, with a warning, for others."""
    known = recognize_label_set(id2label)
    if known is None:
        logger.warning(
            f"The {len(id2label)} classes of {source} are those of no known label set (COCO, ADE20K, Cityscapes, "
            "Mapillary Vistas): all count as things. Give stuff_class_ids=[...] (--stuff_class_ids) if some are stuff."
        )
        return None
    return list(known.stuff_class_ids)


def from_mask2former(
    source: str | os.PathLike[str],
    output_dir: str | os.PathLike[str] | None = None,
    *,
    stuff_class_ids: Sequence[int] | None = None,
    backend: str = "torchvision",
    revision: str | None = None,
    cache_dir: str | os.PathLike[str] | None = None,
    token: str | bool | None = None,
    **overrides: Any,
) -> Mask2FormerConversion:
    """Turns any Mask2Former of transformers, a folder or a Hub id, into a PRO-SCALE that `pipeline()` loads.

    With the default `encoder="full"` the network is the same, weight by weight; post-processing is the official code's,
    which transformers does not have. With another encoder, for example `encoder="progressive",
    encoder_stage_layers=(1, 1, 1)`, what has a counterpart is copied, and the model wants training.

    Args:
        source: Folder or Hub id of a `Mask2FormerForUniversalSegmentation`.
        output_dir: Folder to write: model, image processor, and a card that names the source; None writes nothing.
        stuff_class_ids: Classes whose segments are fused. Default: those of the label set, recognized by its names.
        backend: `"torchvision"` or `"pil"`: the kind of image processor returned. The folder serves both.
        revision, cache_dir, token: Of the Hub, as everywhere in transformers.
        overrides: Fields of `ProScaleConfig`.

    Returns:
        Model, in evaluation mode, and image processor.

    Raises:
        FileNotFoundError: If the source has no configuration.
        ValueError: If it is another model (MaskFormer, OneFormer), a file of it is damaged, weights are missing, or
            `backend` is unknown.

    Example:
        >>> from hfseg import from_mask2former
        >>> model, processor = from_mask2former("facebook/mask2former-swin-tiny-coco-panoptic")  # doctest: +SKIP
    """
    from transformers import Mask2FormerForUniversalSegmentation

    backends: dict[str, type[ProScaleImageProcessor] | type[ProScaleImageProcessorPil]] = {
        "torchvision": ProScaleImageProcessor,
        "pil": ProScaleImageProcessorPil,
    }
    if backend not in backends:
        raise ValueError(f"backend must be one of {', '.join(backends)}; got {backend!r}.")
    name = os.fspath(source)
    hub: dict[str, Any] = {"revision": revision, "cache_dir": cache_dir, "token": token}
    _check_kind(name, _read_json(name, CONFIG, required=True, **hub) or {})
    published = _read_json(name, PREPROCESSOR, required=False, **hub)
    loaded = Mask2FormerForUniversalSegmentation.from_pretrained(name, output_loading_info=True, **hub)
    theirs, info = cast(tuple[Mask2FormerForUniversalSegmentation, dict[str, Any]], loaded)
    missing = sorted(info["missing_keys"])
    if missing:
        shown = ", ".join(missing[:5])
        raise ValueError(f"{name} lacks {len(missing)} weights of its configuration, among them {shown}.")

    if stuff_class_ids is None and "num_labels" not in overrides and "id2label" not in overrides:
        stuff_class_ids = _stuff_classes(cast(dict[int, str], theirs.config.id2label), name)
    fields: dict[str, Any] = {"encoder": "full"} if "encoder_stage_layers" not in overrides else {}
    if stuff_class_ids is not None:
        fields["stuff_class_ids"] = list(stuff_class_ids)
    elif "num_labels" not in overrides and "id2label" not in overrides:
        fields["stuff_class_ids"] = None
    model = ProScaleForUniversalSegmentation.from_mask2former(theirs, **{**fields, **overrides}).eval()
    settings = processor_settings(published or {})
    if "num_labels" in overrides:
        settings["num_labels"] = model.config.num_labels
    stuff = model.config.stuff_class_ids
    image_processor = backends[backend](**settings, label_ids_to_fuse=None if stuff is None else list(stuff))
    if published is None:
        logger.warning(f"{name} has no {PREPROCESSOR}: the image processor has the published settings of Mask2Former.")
    if output_dir is not None:
        folder = Path(output_dir)
        model.save_pretrained(folder)
        image_processor.save_pretrained(folder)
        write_text(folder / "README.md", _card(name, folder.resolve().name, model))
    return Mask2FormerConversion(model, image_processor)


def convert_folder(checkpoint: str, output_dir: str, original_config: Mapping[str, Any] | None = None) -> Path:
    """Writes the folder for `hfseg convert --architecture mask2former`.

    Args:
        checkpoint: Folder or Hub id.
        output_dir: Folder to write.
        original_config: Fields of `ProScaleConfig` that win, from `--config`.
    """
    from_mask2former(checkpoint, output_dir, **dict(original_config or {}))
    return Path(output_dir)


def _card(source: str, title: str, model: ProScaleForUniversalSegmentation) -> str:
    """Card of a converted folder."""
    is_hub_id = not Path(source).exists()
    same = model.config.encoder == "full"
    origin_fields: dict[str, Any] = {"base_model": source, "base_model_relation": "finetune"} if is_hub_id else {}
    data = ModelCardData(
        library_name="transformers",
        pipeline_tag="image-segmentation",
        tags=["vision", "image-segmentation", "proscale", "mask2former", "hfseg"],
        model_name=title,
        **origin_fields,
    )
    origin = f"[{source}](https://huggingface.co/{source})" if is_hub_id else "a local Mask2Former folder"
    about = (
        f'The network and all weights of {origin}, as `ProScaleForUniversalSegmentation` with `encoder="full"`: the '
        "same logits, faster, with the official post-processing."
        if same
        else f"`ProScaleForUniversalSegmentation` with the encoder `{model.config.encoder}` "
        f"{tuple(model.config.encoder_stage_layers)}, started from {origin}. Weights without a counterpart are "
        "randomly initialized: train it before use."
    )
    return (
        f"---\n{data.to_yaml()}\n---\n\n# {title}\n\n{about}\n\n"
        "```python\nimport hfseg\nfrom transformers import pipeline\n\n"
        f'segmenter = pipeline("image-segmentation", model="{title}")\nsegmenter("photo.jpg")\n```\n\n'
        "Results are those of the source, whose license and limits hold; nothing was measured here.\n"
    )


__all__ = ["Mask2FormerConversion", "convert_folder", "from_mask2former", "processor_settings"]
