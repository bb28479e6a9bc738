# Copyright 2026 The hfseg authors. Licensed under the Apache License, Version 2.0.
"""Example inputs that come with the package: a micrograph, a scan and drawn scenes, with prompts that suit them.

`examples/examples.json` lists them; `examples/README.md` says where each file is from and under which terms.
"""

import json
from dataclasses import dataclass, field
from pathlib import Path

from ..files.images import load_image
from ..inference.predictor import Predictor, Prompts

__all__ = ["FOLDER", "Example", "examples", "examples_for"]

FOLDER = Path(__file__).parent.parent / "examples"


@dataclass(frozen=True)
class Example:
    """One input with its prompts.

    Attributes:
        name: Unique.
        data: Dataset that it belongs to; models trained on it have this last in their name.
        tasks: Names of the tasks that it is for.
        path: File of the image or the volume.
        about: What it shows and its terms, in a few words.
        pair: Files of an input and its target, for in-context models.
        text, labels, points, boxes: As `Prompts`.
        answer: Visual format of an in-context answer.
    """

    name: str
    data: str
    tasks: tuple[str, ...]
    path: Path
    about: str
    pair: tuple[Path, ...] = ()
    text: tuple[str, ...] = ()
    labels: tuple[str, ...] = ()
    points: tuple[tuple[float, ...], ...] = field(default=())
    boxes: tuple[tuple[float, ...], ...] = field(default=())
    answer: str | None = None

    @property
    def is_volume(self) -> bool:
        """Whether the file is a volume."""
        return self.path.name.endswith(".nii.gz")

    def prompts(self) -> Prompts:
        """What a model is asked besides the image."""
        pairs = [tuple(load_image(path) for path in self.pair)] if self.pair else None
        return Prompts(self.text, self.labels, self.points, self.boxes, pairs, self.answer)


def examples() -> list[Example]:
    """Reads the list of examples."""
    entries = json.loads((FOLDER / "examples.json").read_text(encoding="utf-8"))
    return [
        Example(
            entry["name"],
            entry["data"],
            tuple(entry["tasks"]),
            FOLDER / entry["file"],
            entry["about"],
            tuple(FOLDER / name for name in entry.get("pair", ())),
            tuple(entry.get("text", ())),
            tuple(entry.get("labels", ())),
            tuple(tuple(point) for point in entry.get("points", ())),
            tuple(tuple(box) for box in entry.get("boxes", ())),
            entry.get("answer"),
        )
        for entry in entries
    ]


def examples_for(predictor: Predictor) -> list[Example]:
    """Lists the examples that a model can be asked about: of the dataset in its name first, then of its task."""
    fitting = [
        example
        for example in examples()
        if (predictor.task in example.tasks if not predictor.reads_volumes else example.is_volume)
    ]
    data = predictor.folder.resolve().name.rpartition("-")[2]
    return sorted(fitting, key=lambda example: example.data != data)
