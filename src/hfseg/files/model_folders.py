# Copyright 2026 The hfseg authors. Licensed under the Apache License, Version 2.0.
"""Checks of a model folder before anything of it is loaded, and of its weights afterwards.

A folder may come from anywhere. Its JSON files decide how much memory is taken and which code runs, so they are read
here first, with bounds on sizes and counts; its weights must be safetensors files whose headers are sound. After
loading, `check_weights` refuses a model of which a weight is missing, left over or not finite: its results would be
arbitrary.

    with loading(folder):                       # every failure becomes one ModelFolderError with one line
        model = SomeModel.from_pretrained(folder)
        check_weights(model, folder)
"""

from __future__ import annotations

import contextlib
import importlib.util
import json
import math
import re
from collections.abc import Callable, Iterable, Iterator, Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any

from safetensors import SafetensorError, safe_open

from .bounds import LARGEST_NUMBER, problem_of_number
from .remote_code import SHIM

if TYPE_CHECKING:  # a command's help must not wait for it
    from torch import nn

__all__ = [
    "ModelFolderError",
    "check_code",
    "check_config",
    "check_model_folder",
    "check_pipeline_weights",
    "check_sizes",
    "check_weights",
    "load_model",
    "loading",
    "read_settings",
    "weight_files",
    "weight_headers",
]

LARGEST_JSON = 64 * 2**20  # bytes; a tokenizer of a large vocabulary has 20 MB
DEEPEST_JSON = 32
LONGEST_LIST = 200_000
SETTINGS = ("config.json", "preprocessor_config.json", "processor_config.json", "model_index.json")
# Files in which transformers looks for `auto_map`, which names code that comes with the folder.
CODE_NAMING = (*SETTINGS, "tokenizer_config.json", "video_preprocessor_config.json", "feature_extractor_config.json")
PICKLES = (".bin", ".pt", ".pth", ".pkl", ".ckpt")
ATTENTION = ("eager", "sdpa", "flash_attention_2", "flash_attention_3", "flex_attention")

# Packages that parts of a model may come from, and the extra that brings each.
EXTRAS = {"timm": "timm", "peft": "lora"}
SHARES = re.compile(r"(^|_)threshold$")  # of a processor: between 0 and 1
FLOATS = ("F64", "F32", "F16", "BF16", "F8_E4M3", "F8_E5M2")
# What a configuration may add to the weights of its files: buffers that are computed, in elements.
SLACK_FACTOR, SLACK = 1.5, 16_000_000
# Likewise in tensors: heads that are left out of a checkpoint, weights that older ones hold in one piece.
TENSORS_FACTOR, TENSORS = 3, 64
# Least values of whole numbers of a processor.
LEAST = {"ignore_index": -(2**31), "num_instances": 1, "size_divisor": 1, "min_area": 0}
EDGES = {"height", "width", "shortest_edge", "longest_edge", "max_height", "max_width"}


class ModelFolderError(ValueError):
    """A model folder that is damaged, incomplete or unsafe; the message names file, entry and remedy."""


# ----------------------------------------------------------------------------------------------------------------- json


def read_settings(path: Path) -> dict[str, Any]:
    """Reads a JSON object of a model folder, within bounds.

    Raises:
        ModelFolderError: It is too large or too deep, no JSON, no object, or holds a number that is not finite.
    """
    remedy = "save or download the model again"
    size = path.stat().st_size
    if size > LARGEST_JSON:
        raise ModelFolderError(f"{path} has {size} bytes; the limit is {LARGEST_JSON}: {remedy}.")
    try:
        content = json.loads(path.read_text(encoding="utf-8"))
    except (ValueError, RecursionError) as error:
        reason = "it is nested too deeply" if isinstance(error, RecursionError) else str(error)
        raise ModelFolderError(f"{path} is damaged ({reason}): {remedy}.") from error
    if not isinstance(content, dict):
        raise ModelFolderError(f"{path} is damaged (it holds a {type(content).__name__}, no object): {remedy}.")
    _check_values(content, path, "", 0)
    return content


def _check_values(value: Any, path: Path, name: str, depth: int) -> None:
    """Checks depth, lengths and numbers of a JSON value."""
    if depth > DEEPEST_JSON:
        raise ModelFolderError(f"{path} is damaged (it is nested more than {DEEPEST_JSON} deep): save the model again.")
    if isinstance(value, (dict, list)) and len(value) > LONGEST_LIST:
        raise ModelFolderError(f"{path}: {name or 'the file'} has {len(value)} entries; the limit is {LONGEST_LIST}.")
    if isinstance(value, dict):
        for key, part in value.items():
            _check_values(part, path, f"{name}.{key}" if name else key, depth + 1)
    elif isinstance(value, list):
        for part in value:
            _check_values(part, path, name, depth + 1)
    elif isinstance(value, (int, float)) and not isinstance(value, bool):
        _check_number(value, path, name)


def _check_number(value: float, path: Path, name: str) -> None:
    """Checks a number against the bound of its name."""
    problem = problem_of_number(name, value)
    if problem is not None:
        shown = f"{value:.3g}" if abs(value) > LARGEST_NUMBER else value
        raise ModelFolderError(f"{path}: {name} is {shown}; {problem}. Save the model again.")


def check_code(content: Any, path: Path) -> None:
    """Refuses settings that name code other than this package's: `auto_map` entries, and kernels from the Hub."""
    if isinstance(content, dict):
        for key, value in content.items():
            if key == "auto_map":
                named = value.values() if isinstance(value, dict) else [value]
                entries = [part for entry in named for part in (entry if isinstance(entry, list) else [entry])]
                foreign = [e for e in entries if e is not None and not re.fullmatch(rf"{SHIM}\.\w+", str(e))]
                if foreign or not isinstance(value, dict):
                    raise ModelFolderError(
                        f"{path}: auto_map names the code {str((foreign or [value])[0])[:100]!r}, which comes with the "
                        f"folder and is never run here: remove the entry (hfseg writes {SHIM}.CLASS)."
                    )
            elif key.endswith("attn_implementation") and value is not None:
                chosen = value.values() if isinstance(value, dict) else [value]
                foreign = [name for name in chosen if name is not None and name not in ATTENTION]
                if foreign:
                    raise ModelFolderError(
                        f"{path}: {key} is {str(foreign[0])[:100]!r}; it must be one of {', '.join(ATTENTION)}."
                    )
            check_code(value, path)
    elif isinstance(content, list):
        for value in content:
            check_code(value, path)


def _wrong(path: Path, name: str, value: Any, legal: str) -> ModelFolderError:
    shown = repr(value)
    shown = shown if len(shown) <= 80 else shown[:77] + "..."
    return ModelFolderError(f"{path}: {name} is {shown}; it must be {legal}. Save or download the model again.")


def _is_number(value: Any) -> bool:
    return isinstance(value, (int, float)) and not isinstance(value, bool)


def _is_whole(value: Any) -> bool:
    return isinstance(value, int) and not isinstance(value, bool)


def check_config(content: Mapping[str, Any], path: Path) -> None:
    """Checks the entries of a configuration that every architecture has."""
    names = content.get("architectures")
    if names is not None and not (isinstance(names, list) and all(isinstance(name, str) for name in names)):
        raise _wrong(path, "architectures", names, "a list of class names")
    if not isinstance(content.get("model_type"), str):
        raise _wrong(path, "model_type", content.get("model_type"), "the name of an architecture")
    labels = content.get("id2label")
    if labels is not None:
        if not isinstance(labels, dict) or not all(isinstance(value, (str, int)) for value in labels.values()):
            raise _wrong(path, "id2label", labels, "an object of class ids and names")
        if sorted(labels) != sorted(str(index) for index in range(len(labels))):
            raise _wrong(path, "id2label", list(labels)[:5], f"an object with the ids 0 to {len(labels) - 1}")
    ids = content.get("label2id")
    if ids is not None and not isinstance(ids, dict):
        raise _wrong(path, "label2id", ids, "an object of names and class ids")
    _check_backbones(content, path, "")


def _check_backbones(content: Mapping[str, Any], path: Path, name: str) -> None:
    """Refuses backbones of timm that are described outside the folder: `hf-hub:OWNER/NAME`, `local-dir:PATH`."""
    for key, value in content.items():
        if isinstance(value, dict):
            _check_backbones(value, path, f"{name}{key}.")
        elif key == "backbone" and isinstance(value, str) and re.search(r"[:/\\]", value):
            raise _wrong(path, f"{name}{key}", value, "the name of a network, without a place to read it from")


def _check_processor(content: Mapping[str, Any], path: Path, prefix: str = "") -> None:
    """Checks the entries of an image processor that decide what the model sees."""
    for key, value in content.items():
        name = prefix + key
        if value is None:
            continue
        if key == "image_processor":
            if not isinstance(value, dict):
                raise _wrong(path, name, value, "an object")
            _check_processor(value, path, f"{name}.")
        is_right, legal = _rule_of_processor(key)
        if not is_right(value):
            raise _wrong(path, name, value, legal)
    if "image_mean" in content and "image_std" in content:
        mean, std = (v if isinstance(v, list) else [v] for v in (content["image_mean"], content["image_std"]))
        if None not in (*mean, *std) and len(mean) != len(std):
            raise _wrong(path, f"{prefix}image_std", std, f"as long as image_mean, {len(mean)} numbers")


def _rule_of_processor(key: str) -> tuple[Callable[[Any], bool], str]:
    """Finds the rule for an entry of an image processor: whether a value is right, and what is, in words."""
    if key.startswith(("do_", "check_")):
        return lambda value: isinstance(value, bool), "true or false"
    if key == "image_mean":
        return lambda value: _are_of_channels(value, -math.inf), "a list of one number per channel"
    if key == "image_std":
        return lambda value: _are_of_channels(value, 0.0), "a list of one number per channel, each above 0"
    if key == "rescale_factor":
        return lambda value: _is_number(value) and value > 0, "a number above 0"
    if key in ("size", "crop_size", "pad_size"):
        return _is_size, f"an object of whole numbers of pixels under {', '.join(sorted(EDGES))}"
    if key == "resample":
        return lambda value: not isinstance(value, bool) and value in range(6), "0 to 5 (Pillow's filters)"
    if SHARES.search(key):
        return lambda value: _is_number(value) and 0 <= value <= 1, "a number between 0 and 1"
    if key in LEAST:
        least = LEAST[key]
        return lambda value: _is_whole(value) and value >= least, f"a whole number of {least} or more"
    if key == "label_ids_to_fuse":
        return lambda value: isinstance(value, list) and all(map(_is_whole, value)), "a list of class ids"
    return lambda value: True, "anything"


def _are_of_channels(value: Any, above: float) -> bool:
    """Says whether a value is a number, or 1 to 64 numbers, above a bound."""
    values = value if isinstance(value, list) else [value]
    return 1 <= len(values) <= 64 and all(_is_number(one) and one > above for one in values)


def _is_size(value: Any) -> bool:
    """Says whether a value is a side, or sides by their names, in pixels."""
    sides = value if isinstance(value, dict) else {"shortest_edge": value}
    return bool(sides) and not set(sides) - EDGES and all(_is_whole(side) and side > 0 for side in sides.values())


# -------------------------------------------------------------------------------------------------------------- weights


def weight_files(folder: Path, stem: str = "model") -> list[Path]:
    """Lists the safetensors files of a model folder: one file, or the shards that its index names.

    Raises:
        ModelFolderError: There is none, only a pickle, or the index names a file that is not in the folder.
    """
    index = folder / f"{stem}.safetensors.index.json"
    single = folder / f"{stem}.safetensors"
    if single.is_file():  # which transformers and diffusers prefer too
        return [single]
    if index.is_file():
        table = read_settings(index).get("weight_map")
        if not isinstance(table, dict) or not table or not all(isinstance(name, str) for name in table.values()):
            raise ModelFolderError(f"{index} has no weight_map of tensor names and files: save the model again.")
        names = sorted(set(table.values()))
        for name in names:
            if name != Path(name).name or not name.endswith(".safetensors"):
                raise ModelFolderError(f"{index} names {name[:100]!r}, which is no safetensors file of this folder.")
            if not (folder / name).is_file():
                raise ModelFolderError(f"{index} names {name}, which is missing: download the folder again.")
        return [folder / name for name in names]
    pickles = sorted(path.name for path in folder.iterdir() if path.suffix in PICKLES) if folder.is_dir() else []
    if pickles:
        raise ModelFolderError(
            f"{folder} holds its weights as a pickle ({pickles[0]}), which could run code and is not loaded: convert "
            f"it to {stem}.safetensors (hfseg convert reads official checkpoints safely)."
        )
    raise ModelFolderError(
        f"{folder} holds no weights: {stem}.safetensors is missing; save or download the model again."
    )


def weight_headers(files: Iterable[Path]) -> dict[str, tuple[str, tuple[int, ...]]]:
    """Reads name, type and shape of every tensor from the headers of safetensors files.

    Raises:
        ModelFolderError: A file is truncated or damaged, or a tensor is in two files.
    """
    tensors: dict[str, tuple[str, tuple[int, ...]]] = {}
    for file in files:
        try:
            with safe_open(file, framework="pt") as opened:
                for name in opened.keys():
                    if name in tensors:
                        raise ModelFolderError(f"{file} holds {name}, which another file of the folder holds too.")
                    part = opened.get_slice(name)
                    tensors[name] = (str(part.get_dtype()), tuple(part.get_shape()))
        except (SafetensorError, OSError, ValueError) as error:
            if isinstance(error, ModelFolderError):
                raise
            raise ModelFolderError(
                f"{file} is truncated or damaged ({_first_line(error)}): save or download the model again."
            ) from error
    return tensors


def check_model_folder(folder: str | Path) -> None:
    """Checks the files of a model or pipeline folder without loading a weight.

    Raises:
        FileNotFoundError: There is no such folder, or neither `config.json` nor `model_index.json` is in it.
        ModelFolderError: What is wrong with a file of it.
    """
    path = Path(folder)
    if not path.is_dir():
        raise FileNotFoundError(f"There is no model folder {str(folder)!r}: train or convert a model first.")
    if not any((path / name).is_file() for name in ("config.json", "model_index.json")):
        raise FileNotFoundError(f"{path} is no model folder: neither config.json nor model_index.json is in it.")
    contents = {name: read_settings(path / name) for name in CODE_NAMING if (path / name).is_file()}
    for name, content in contents.items():
        check_code(content, path / name)
    for name in ("preprocessor_config.json", "processor_config.json"):
        if name in contents:
            _check_processor(contents[name], path / name)
    if "config.json" in contents:
        check_config(contents["config.json"], path / "config.json")
        weight_headers(weight_files(path))
    if "model_index.json" in contents and "config.json" not in contents:
        _check_components(contents["model_index.json"], path)


def _check_components(index: Mapping[str, Any], folder: Path) -> None:
    """Checks the parts of a diffusers folder."""
    file = folder / "model_index.json"
    for name, value in index.items():
        if name.startswith("_") or not isinstance(value, list):
            continue
        if len(value) != 2 or not all(part is None or isinstance(part, str) for part in value):
            raise _wrong(file, name, value, "a list of library and class")
        library = value[0]
        if library is None:
            continue
        if library.split(".")[0] not in ("diffusers", "transformers", "hfseg", SHIM):
            raise _wrong(file, name, value, "a class of hfseg, diffusers or transformers")
        part = folder / name
        if name != Path(name).name or not part.is_dir():
            raise ModelFolderError(
                f"{file} names the part {name!r}, whose folder is missing: download the model again."
            )
        for settings in sorted(part.glob("*.json")):
            check_code(read_settings(settings), settings)
        if (part / "config.json").is_file():
            pickles = [path.name for path in part.iterdir() if path.suffix in PICKLES]
            stems = ("diffusion_pytorch_model", "model")
            found = [stem for stem in stems if list(part.glob(f"{stem}*.safetensors*"))]
            if found or pickles:
                weight_headers(weight_files(part, found[0] if found else stems[0]))


def check_weights(model: nn.Module, folder: str | Path) -> None:
    """Checks that every weight of a loaded model came from its folder and is finite.

    Tensors that the model has no place for are refused too if the model is of the class that the folder names: then
    configuration and weights belong to different models. (An open-vocabulary folder may be loaded as a model of masks.)

    Args:
        model: Loaded by `from_pretrained`, which leaves `loading_report` on this package's models.
        folder: Where it came from, for the message.

    Raises:
        ModelFolderError: Naming the first five tensors.
    """
    report: Mapping[str, Any] = getattr(model, "loading_report", None) or {}
    kinds = {"missing_keys": "lacks", "mismatched_keys": "has another shape of"}
    own = getattr(getattr(model, "config", None), "architectures", None) or []
    if type(model).__name__ in own:
        kinds["unexpected_keys"] = "has no place for"
    for kind, words in kinds.items():
        names = sorted(str(key[0] if isinstance(key, tuple) else key) for key in report.get(kind) or ())
        if names and kind == "unexpected_keys":
            raise ModelFolderError(
                f"{folder} holds {len(names)} weights that {type(model).__name__} has no place for ({_some(names)}): "
                "config.json and weights belong to different models; convert or download the folder again."
            )
        if names:
            raise ModelFolderError(
                f"{folder} {words} {len(names)} weights of {type(model).__name__} ({_some(names)}), which would be "
                "random: convert or download the folder again."
            )
    check_finite_weights(model, folder)


def check_finite_weights(model: nn.Module, folder: str | Path, prefix: str = "") -> None:
    """Checks that the weights and stored buffers of a model are finite.

    Raises:
        ModelFolderError: Naming the first five tensors.
    """
    import torch

    names = [
        f"{prefix}{name}"
        for name, value in model.state_dict().items()
        if isinstance(value, torch.Tensor) and value.is_floating_point() and not bool(torch.isfinite(value).all())
    ]
    if names:
        raise ModelFolderError(
            f"{folder} holds {len(names)} weights of {type(model).__name__} that are not finite ({_some(names)}): the "
            "training diverged or the file is damaged; use an earlier checkpoint, or download it again."
        )


def check_pipeline_weights(pipe: Any, folder: str | Path) -> None:
    """Checks the models of a diffusers pipeline as `check_weights` does one model.

    Raises:
        ModelFolderError: Naming the first five tensors.
    """
    from torch import nn

    for name, model in pipe.components.items():
        part = Path(folder) / name
        if not isinstance(model, nn.Module) or not part.is_dir():
            continue
        stem = next((s for s in ("diffusion_pytorch_model", "model") if list(part.glob(f"{s}*.safetensors*"))), None)
        stored = set(weight_headers(weight_files(part, stem))) if stem else set()
        expected = set(model.state_dict())
        missing, extra = sorted(expected - stored), sorted(stored - expected)
        if stem and missing:
            raise ModelFolderError(
                f"{part} lacks {len(missing)} weights of {type(model).__name__} ({_some(missing)}), which would be "
                "random: convert or download the folder again."
            )
        if extra:
            raise ModelFolderError(
                f"{part} holds {len(extra)} weights that {type(model).__name__} has no place for ({_some(extra)}): "
                "config.json and weights belong to different models; convert or download the folder again."
            )
        if not stem and expected:
            raise ModelFolderError(f"{part} holds no weights of {type(model).__name__}: download the folder again.")
        check_finite_weights(model, folder, f"{name}.")


def _is_installed(package: str) -> bool:
    try:
        return importlib.util.find_spec(package) is not None
    except ValueError:  # a module without a specification stands in its place
        return False


@contextlib.contextmanager
def loading(folder: str | Path) -> Iterator[None]:
    """Checks a folder, and turns whatever fails while it is loaded into one `ModelFolderError` of one line.

    Raises:
        FileNotFoundError, ModelFolderError: As `check_model_folder`; the libraries' own complaints.
        ImportError: The model is made of parts of a package that is not installed; names the extra.
    """
    check_model_folder(folder)
    try:
        yield
    except (ModelFolderError, FileNotFoundError):
        raise
    except ImportError as error:
        lacking = next((name for name in EXTRAS if name in str(error) and not _is_installed(name)), None)
        if lacking is None:
            raise ModelFolderError(f"{folder} cannot be loaded ({_first_line(error)}).") from error
        raise ImportError(f"{folder} needs {lacking}: pip install 'hfseg[{EXTRAS[lacking]}]'.") from error
    except (Exception, SystemError) as error:  # a wrong value of a configuration can end in anything
        raise ModelFolderError(
            f"{folder} cannot be loaded ({_first_line(error)}): config.json or another file of the folder is damaged "
            "or was written by another release; save, convert or download it again."
        ) from error


def check_sizes(folder: str | Path, model_class: Any) -> None:
    """Compares the model that `config.json` describes with the headers of the weights; no memory is taken for either.

    Raises:
        ModelFolderError: The described model is much larger than its weights, or a tensor has another kind of number.
    """
    stored = weight_headers(weight_files(Path(folder)))
    config = model_class.config_class.from_pretrained(folder)
    import torch

    with torch.device("meta"):
        model = model_class(config)
    tensors = {**dict(model.named_parameters()), **dict(model.named_buffers())}
    described = sum(tensor.numel() for tensor in tensors.values())
    held = sum(math.prod(shape) for _, shape in stored.values())
    if described > SLACK_FACTOR * held + SLACK:
        raise ModelFolderError(
            f"{Path(folder) / 'config.json'} describes a model of {described:,} weights, but its files hold {held:,}: "
            "they belong to different models; convert or download the folder again."
        )
    parameters = sum(1 for _ in model.parameters())
    if parameters > TENSORS_FACTOR * len(stored) + TENSORS:
        raise ModelFolderError(
            f"{Path(folder) / 'config.json'} describes a model of {parameters} tensors, but its files hold "
            f"{len(stored)}: they belong to different models; convert or download the folder again."
        )
    for name, (dtype, _) in stored.items():
        if name in tensors and tensors[name].is_floating_point() != (dtype in FLOATS):
            raise ModelFolderError(
                f"{folder}: the weight {name} is stored as {dtype}, but {model_class.__name__} has "
                f"{str(tensors[name].dtype).removeprefix('torch.')}: the file is damaged; download the folder again."
            )


def load_model(folder: str | Path, model_class: Any, **arguments: Any) -> Any:
    """Loads a model in evaluation mode and refuses missing, foreign and non-finite weights.

    Args:
        folder: Of a saved model.
        model_class: Class of the model that the folder holds.
        **arguments: Of `from_pretrained`.

    Raises:
        FileNotFoundError, ModelFolderError: What is wrong with the folder, in one line.
    """
    with loading(folder):
        check_sizes(folder, model_class)
        model = model_class.from_pretrained(folder, **arguments)
        check_weights(model, folder)
    return model.eval()


def _some(names: list[str]) -> str:
    return ", ".join(names[:5]) + (", ..." if len(names) > 5 else "")


def _first_line(error: BaseException) -> str:
    lines = [line.strip() for line in str(error).splitlines() if line.strip()]
    return f"{type(error).__name__}: {' '.join(lines[:3])[:300]}" if lines else type(error).__name__
