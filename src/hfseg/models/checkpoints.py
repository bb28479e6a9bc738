# Copyright 2026 The hfseg authors. Licensed under the Apache License, Version 2.0.
"""Reading of foreign checkpoint files without executing anything in them."""

import io
import pickle
import re
import zipfile
from collections.abc import Callable, Iterable
from pathlib import Path
from typing import Any

import torch
from safetensors import SafetensorError
from safetensors.torch import load_file

# Earlier releases can be made to run code by a crafted file even with weights_only=True.
SAFE_TORCH = (2, 10)
STORAGES = {
    "FloatStorage": torch.float32,
    "HalfStorage": torch.float16,
    "BFloat16Storage": torch.bfloat16,
    "DoubleStorage": torch.float64,
    "LongStorage": torch.int64,
    "IntStorage": torch.int32,
    "ByteStorage": torch.uint8,
    "BoolStorage": torch.bool,
}
CONTAINERS = ("model", "state_dict", "module")


def read_state_dict(path: str | Path) -> dict[str, torch.Tensor]:
    """Reads the tensors of a `.safetensors`, `.pth`, `.pt`, `.bin` or `.pkl` file.

    A state dict inside a container (`model`, `state_dict`, `module`) is unwrapped and a leading `module.`, which
    distributed training adds, is stripped.

    Args:
        path: The file.

    Returns:
        Key to tensor, on the CPU.

    Raises:
        FileNotFoundError: If there is no such file.
        ValueError: If the file is damaged, holds something else than tensors, or would have to execute code.
    """
    path = Path(path)
    if not path.is_file():
        raise FileNotFoundError(f"No checkpoint at {path}: give the path of a .safetensors, .pth, .pt or .pkl file.")
    if path.suffix == ".safetensors":
        try:
            return strip_wrapper(load_file(path))
        except SafetensorError as error:
            raise ValueError(f"{path} is not a valid safetensors file ({error}): download it again.") from error
    version = tuple(int(part) for part in re.findall(r"\d+", torch.__version__)[:2])
    if version < SAFE_TORCH:
        raise ValueError(
            f"Reading the pickle {path} safely needs torch >= {SAFE_TORCH[0]}.{SAFE_TORCH[1]}, this is "
            f"{torch.__version__}: upgrade torch, or convert the file to safetensors elsewhere."
        )
    if is_torchscript(path):
        return read_torchscript(path)
    try:
        content = torch.load(path, map_location="cpu", weights_only=True)
    except Exception as error:
        raise ValueError(
            f"{path} could not be read as plain tensors, and nothing else in a checkpoint is ever executed here. If "
            "the file is trustworthy, load it in a sandbox and save its state dict as safetensors. Reason: "
            f"{type(error).__name__} {str(error).partition(chr(10))[0]}"
        ) from error
    while isinstance(content, dict) and not any(isinstance(value, torch.Tensor) for value in content.values()):
        inner = next((content[key] for key in CONTAINERS if isinstance(content.get(key), dict)), None)
        if inner is None:
            break
        content = inner
    if not isinstance(content, dict) or not any(isinstance(value, torch.Tensor) for value in content.values()):
        raise ValueError(
            f"{path} holds no state dict: expected key-to-tensor entries, bare or under {', '.join(CONTAINERS)}."
        )
    tensors = {key: value for key, value in content.items() if isinstance(value, torch.Tensor)}
    return strip_wrapper(tensors)


def is_torchscript(path: Path) -> bool:
    """Tells whether a file is a TorchScript archive, such as OpenAI's of CLIP."""
    if not zipfile.is_zipfile(path):
        return False
    with zipfile.ZipFile(path) as archive:
        return any(name.endswith("/constants.pkl") for name in archive.namelist())


class _TensorsOnly(pickle.Unpickler):
    """Unpickler of TorchScript's attributes: objects become dictionaries, and nothing but tensors is built."""

    def __init__(self, archive: zipfile.ZipFile, folder: str):
        super().__init__(io.BytesIO(archive.read(f"{folder}/data.pkl")))
        self.archive, self.folder = archive, folder

    def find_class(self, module: str, name: str) -> Any:
        if (module, name) in (("torch._utils", "_rebuild_tensor_v2"), ("torch._utils", "_rebuild_tensor")):
            return _tensor
        if (module, name) in (("torch._utils", "_rebuild_parameter"), ("torch._tensor", "_rebuild_from_type_v2")):
            return lambda tensor, *rest: tensor
        if module == "torch" and name in STORAGES:
            return STORAGES[name]
        if (module, name) == ("collections", "OrderedDict"):
            return dict
        if module.startswith("__torch__"):
            return type("Attributes", (_Attributes,), {})
        return lambda *arguments: None  # lists of numbers and the like, of no interest here

    def persistent_load(self, pid: Any) -> torch.Tensor:
        _, dtype, key, _, count = pid
        content = bytearray(self.archive.read(f"{self.folder}/data/{key}"))
        return torch.frombuffer(content, dtype=dtype, count=count)


class _Attributes:
    """Attributes of a scripted module."""

    def __setstate__(self, state: Any) -> None:
        self.__dict__.update(state if isinstance(state, dict) else {})


def _tensor(storage: torch.Tensor, offset: int, size: Any, stride: Any, *rest: Any) -> torch.Tensor:
    return storage.as_strided(tuple(size), tuple(stride), offset).clone()


def read_torchscript(path: Path) -> dict[str, torch.Tensor]:
    """Reads the tensors of a TorchScript archive by the names of its modules. Its code is neither loaded nor run.

    Raises:
        ValueError: If the archive is damaged or of another form.
    """
    try:
        with zipfile.ZipFile(path) as archive:
            folder = next(name for name in archive.namelist() if name.endswith("/data.pkl")).rpartition("/")[0]
            root = _TensorsOnly(archive, folder).load()
    except Exception as error:  # a damaged archive raises almost anything
        raise ValueError(
            f"{path} could not be read as a TorchScript archive: {type(error).__name__} {error}"
        ) from error
    tensors: dict[str, torch.Tensor] = {}
    waiting = [("", root)]
    while waiting:
        prefix, module = waiting.pop()
        for name, value in vars(module).items() if isinstance(module, _Attributes) else ():
            if isinstance(value, torch.Tensor):
                tensors[prefix + name] = value
            elif isinstance(value, _Attributes):
                waiting.append((f"{prefix}{name}.", value))
    if not tensors:
        raise ValueError(f"{path} is a TorchScript archive without tensors.")
    return tensors


def strip_wrapper(tensors: dict[str, torch.Tensor]) -> dict[str, torch.Tensor]:
    """Strips the `module.` that distributed training puts before every name."""
    return {key.removeprefix("module."): value for key, value in tensors.items()}


# Official names in a layer of deformable self-attention (Deformable DETR's), by ours.
DEFORMABLE_ENCODER_LAYER = {
    r"norm1\.": "self_attn_layer_norm.",
    r"norm2\.": "final_layer_norm.",
    r"linear1\.": "fc1.",
    r"linear2\.": "fc2.",
    r"self_attn\.": "self_attn.",
}


def load_converted(
    model_class: Any,
    config: Any,
    state_dict: dict[str, torch.Tensor],
    what: str,
    may_lack: Callable[[str], bool] = lambda key: False,
) -> Any:
    """Builds a model from native tensors, all of which must fit.

    Args:
        model_class: Class of the model.
        config: Its configuration.
        state_dict: Native state dict.
        what: Name of the architecture, for messages.
        may_lack: Says which keys may be missing, to be randomly initialized.

    Raises:
        ValueError: A key is missing or unexpected, or a tensor has another shape than the configuration says.
    """
    model, info = model_class.from_pretrained(
        None,
        config=config,
        state_dict=state_dict,
        output_loading_info=True,
        ignore_mismatched_sizes=True,  # collected, and an error below
    )
    if info["mismatched_keys"]:
        shapes = [f"{key} is {tuple(given)}, not {tuple(own)}" for key, given, own in sorted(info["mismatched_keys"])]
        raise ValueError(
            f"The tensors do not fit the configuration derived for {what}: {'; '.join(shapes[:20])}. "
            "Hyperparameters that differ from the published ones are given with --config."
        )
    check_keys([key for key in info["missing_keys"] if not may_lack(key)], info["unexpected_keys"], what)
    return model


def check_keys(missing: Iterable[str], unexpected: Iterable[str], what: str) -> None:
    """Checks that a conversion used every tensor and filled every parameter.

    Raises:
        ValueError: Listing the keys.
    """
    missing, unexpected = sorted(missing), sorted(unexpected)
    if missing or unexpected:
        shown = [
            f"{len(keys)} {kind} key(s): {', '.join(keys[:20])}{' ...' if len(keys) > 20 else ''}"
            for kind, keys in (("missing", missing), ("unexpected", unexpected))
            if keys
        ]
        raise ValueError(
            f"This is not a checkpoint of {what}, or its hyperparameters differ (give them with --config). "
            + "; ".join(shown)
        )
