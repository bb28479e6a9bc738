# Copyright 2026 The hfseg authors. Licensed under the Apache License, Version 2.0.
"""How the classes of a model correspond to those of a dataset: by id, by name, or by embedded names."""

import dataclasses
import json
from collections.abc import Collection, Iterable, Mapping
from pathlib import Path
from typing import Any

from torch import Tensor, nn

__all__ = ["LabelMatch", "embed_classes", "match_labels", "read_labels", "some"]


@dataclasses.dataclass(frozen=True)
class LabelMatch:
    """How a model's classes correspond to a dataset's.

    Attributes:
        to_dataset: Class of the dataset for every class of the model, -1 for none.
        by: "id" or "name".
        not_in_dataset: Names of model classes that the dataset lacks; what is predicted as them counts as no class.
        not_in_model: Names of dataset classes that the model lacks; they are always missed, and count in the means.
    """

    to_dataset: tuple[int, ...]
    by: str
    not_in_dataset: tuple[str, ...] = ()
    not_in_model: tuple[str, ...] = ()

    @classmethod
    def identity(cls, num_labels: int) -> "LabelMatch":
        """Equal ids."""
        return cls(tuple(range(num_labels)), "id")

    def to_model(self, class_ids: Collection[int]) -> list[int]:
        """Model classes of some classes of the dataset."""
        wanted = set(class_ids)
        return [label for label, class_id in enumerate(self.to_dataset) if class_id in wanted]


def _plain(name: str) -> str:
    return " ".join(str(name).lower().replace("-", " ").replace("_", " ").split())


def match_labels(
    model_labels: Mapping[int, str], dataset_labels: Mapping[int, str], by: str | None = None
) -> LabelMatch:
    """Matches the classes of a model with those of a dataset.

    Args:
        model_labels: The model's `id2label`.
        dataset_labels: The dataset's.
        by: None accepts equal names in equal order only. "name" matches by name (case, `-` and `_` aside), in any order
            and number. "id" takes equal ids for equal classes whatever they are called; their number must agree.

    Raises:
        ValueError: The classes differ and `by` does not settle it; says how they differ and what to do.
    """
    ours = {int(key): str(name) for key, name in model_labels.items()}
    theirs = {int(key): str(name) for key, name in dataset_labels.items()}
    if sorted(ours) != list(range(len(ours))) or sorted(theirs) != list(range(len(theirs))):
        raise ValueError("class ids must be 0 .. C-1 without gaps, in the model's id2label and in the dataset's.")
    if by not in (None, "id", "name"):
        raise ValueError(f"labels can be matched by 'id' or by 'name', not by {by!r}.")
    same_names = len(ours) == len(theirs) and all(_plain(ours[key]) == _plain(theirs[key]) for key in ours)
    if by == "id" or (by is None and same_names):
        if len(ours) != len(theirs):
            raise ValueError(
                f"the model has {len(ours)} classes and the dataset {len(theirs)}, so ids cannot be matched; "
                "match by name (--match_labels name)."
            )
        return LabelMatch.identity(len(ours))
    class_of = {_plain(name): class_id for class_id, name in theirs.items()}
    to_dataset = tuple(class_of.get(_plain(ours[label]), -1) for label in range(len(ours)))
    extra = tuple(ours[label] for label, class_id in enumerate(to_dataset) if class_id < 0)
    found = set(to_dataset)
    lacking = tuple(name for class_id, name in theirs.items() if class_id not in found)
    common = len(found - {-1})
    if by == "name":
        if common == 0:
            raise ValueError(
                f"the model's classes ({some(ours.values())}) and the dataset's ({some(theirs.values())}) have no "
                "name in common; is this the right model, or the right dataset?"
            )
        return LabelMatch(to_dataset, "name", extra, lacking)
    if len(ours) != len(theirs):
        how = f"the model has {len(ours)} classes and the dataset {len(theirs)}"
    elif common == len(theirs):
        how = "the model and the dataset have the same classes in another order"
    else:
        how = f"the model and the dataset both have {len(ours)} classes, but other names"
    details = [f"only the model has {some(extra)}"] * bool(extra) + [f"only the data has {some(lacking)}"] * bool(
        lacking
    )
    ways = [f"--match_labels name compares the {common} common ones"] * bool(common)
    ways += ["--match_labels id takes equal numbers for equal classes"] * (len(ours) == len(theirs))
    raise ValueError(
        f"{how}{' (' + '; '.join(details) + ')' if details else ''}; "
        + (" and ".join(ways) + "." if ways else "no name agrees: is this the right model, or the right dataset?")
    )


def some(names: Iterable[str], limit: int = 5) -> str:
    names = [str(name) for name in names]
    return ", ".join(names[:limit]) + (f", ... ({len(names)})" if len(names) > limit else "")


def read_labels(file: str | None) -> dict[str, list[str]]:
    """Reads other names of classes: a JSON object of class to name or names.

    Raises:
        FileNotFoundError, ValueError: There is no such file, or it holds something else.
    """
    if file is None:
        return {}
    path = Path(file)
    if not path.is_file():
        raise FileNotFoundError(f"--labels {file!r}: there is no such file.")
    try:
        content = json.loads(path.read_text(encoding="utf-8"))
    except (json.JSONDecodeError, UnicodeDecodeError) as error:
        raise ValueError(f"--labels {file!r} is no JSON: {error}") from error
    example = '{"car": ["car", "automobile"], "road": "road"}'
    if not isinstance(content, dict):
        raise ValueError(f"--labels {file!r} must hold an object of class to names, such as {example}.")
    names = {key: [value] if isinstance(value, str) else value for key, value in content.items()}
    wrong = [
        key
        for key, value in names.items()
        if not isinstance(value, list) or not value or not all(isinstance(name, str) and name.strip() for name in value)
    ]
    if wrong:
        raise ValueError(f"--labels {file!r} gives {wrong[0]!r} no names; expected something like {example}.")
    return names


def embed_classes(
    model: nn.Module,
    processor: Any,
    id2label: Mapping[int, str],
    synonyms: Mapping[str, Collection[str]] | None = None,
    templates: Any = "vild",
) -> Tensor:
    """Embeds the classes of a dataset with an open-vocabulary model's text tower.

    Args:
        model: With `get_text_features`.
        processor: Its processor.
        id2label: Names of the classes; commas separate synonyms, `-` and `_` are read as spaces.
        synonyms: Other names by class; classes that it lacks keep their own.
        templates: Sentences around the names.

    Shape:
        Output: `(V, R, D)`.

    Raises:
        ValueError: If `synonyms` names a class that the dataset does not have, or a name is empty or double.
    """
    classes = [str(id2label[key]) for key in sorted(id2label)]
    synonyms = synonyms or {}
    foreign = [name for name in synonyms if name not in classes]
    if foreign:
        raise ValueError(f"names are given for {some(foreign)}, but the dataset has the classes {some(classes)}.")
    given = {name: list(synonyms.get(name, ())) or [_spoken(part) for part in name.split(",")] for name in classes}
    return processor.embed_labels(model, given, templates)[1]


def _spoken(name: str) -> str:
    return " ".join(name.replace("-", " ").replace("_", " ").split())
