# Copyright 2026 The hfseg authors. Licensed under the Apache License, Version 2.0.
"""Saying that a limit has cut results: an image at a time, or once for many."""

from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from contextvars import ContextVar

from torch import Tensor
from transformers.utils import logging

logger = logging.get_logger(__name__)
_kept: ContextVar[list[str] | None] = ContextVar("kept", default=None)


class Detections(dict):
    """Boxes of an image, with their scores and labels; `incomplete` says why there may be more, or is empty."""

    def __init__(self, boxes: Mapping[str, Tensor], incomplete: str = ""):
        super().__init__(boxes)
        self.incomplete = incomplete


def tell(messages: Sequence[str]) -> None:
    """Warns of the images whose results a limit has cut; within `told_once` the warning waits for the end.

    Args:
        messages: Per image what is wrong and what helps, or an empty text.
    """
    kept = _kept.get()
    if kept is not None:
        kept.extend(filter(None, messages))
        return
    for index, message in enumerate(messages):
        if message:
            logger.warning(f"Image {index}: {message}" if len(messages) > 1 else message)


def summary(messages: Sequence[str], what: str) -> str:
    """One text for many: how many are cut, and what is wrong with the first; empty if none is."""
    cut = [message for message in messages if message]
    if not cut:
        return ""
    return cut[0] if len(cut) == 1 else f"Results of {len(cut)} {what} are cut by a limit. The first: {cut[0]}"


@contextmanager
def told_once(what: str = "images") -> Iterator[None]:
    """Gathers the warnings of a block, such as an evaluation or a video, into one at its end.

    Args:
        what: What the results are of, in the plural.
    """
    kept: list[str] = []
    token = _kept.set(kept)
    try:
        yield
    finally:
        _kept.reset(token)
        if kept:
            tell([summary(kept, what)])
