# Copyright 2026 The hfseg authors. Licensed under the Apache License, Version 2.0.
"""Sub-configurations: how a configuration declares them, and how the rest of the code reads them with their type."""

from typing import Any, TypeVar

from transformers import PreTrainedConfig, configuration_utils

__all__ = ["SubConfigSpec", "sub_config"]

# transformers < 5.20 names the classes of sub-configurations only: None there, and configurations fill defaults in.
SubConfigSpec: Any = getattr(configuration_utils, "SubConfigSpec", None)

Kind = TypeVar("Kind", bound=PreTrainedConfig)


def sub_config(value: dict | PreTrainedConfig | None, kind: type[Kind]) -> Kind:
    """Returns a sub-configuration with its type.

    A field such as `text_config` is declared to be a dictionary, a configuration or None, which is what users may give;
    once the configuration is built it always holds the second.

    Raises:
        TypeError: It is something else.

    >>> from transformers import CLIPTextConfig
    >>> sub_config(CLIPTextConfig(vocab_size=7), CLIPTextConfig).vocab_size
    7
    """
    if not isinstance(value, kind):
        raise TypeError(f"A sub-configuration must be a {kind.__name__}; got {type(value).__name__}.")
    return value
