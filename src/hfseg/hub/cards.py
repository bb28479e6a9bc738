# Copyright 2026 The hfseg authors. Licensed under the Apache License, Version 2.0.
"""Model cards: README.md with the metadata that the Hub reads, and the result files beside it.

A measured number is a `Measurement`; it carries the command that made it into `model-index` (as the metric's
arguments) and into `.eval_results/*.yaml` (as the note), and `card_problems` refuses one without.
"""

import ast
import re
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from typing import Any

import yaml
from huggingface_hub import EvalResult, EvalResultEntry, ModelCard, ModelCardData, eval_result_entries_to_yaml

HUB_ID = re.compile(r"[A-Za-z0-9][\w.-]*/[\w.-]+")
# The tasks of the Hub that models of this package can have; the Hub has more.
PIPELINE_TAGS = (
    "depth-estimation",
    "image-feature-extraction",
    "image-segmentation",
    "image-to-image",
    "keypoint-detection",
    "mask-generation",
    "object-detection",
    "video-to-video",
    "zero-shot-image-classification",
)
# `pipeline(model=...)` refuses cards of other libraries.
LIBRARIES = ("transformers", "diffusers")
# What a reader must find, as a word of some heading.
SECTIONS = {"use": ("use", "usage"), "limits": ("limits", "limitations"), "training": ("training", "recipe")}
PLACEHOLDERS = re.compile(r"\[more information needed\]|\bTODO\b|\bFIXME\b|\{\{", re.IGNORECASE)

_TEMPLATE = """---
{{ card_data }}
---

# {{ title }}

{{ about }}

## Use

```python
{{ use }}
```
{% for heading, text in sections.items() %}
## {{ heading }}

{{ text }}
{% endfor %}"""


@dataclass(frozen=True)
class Measurement:
    """A number of a model on a dataset, and where it comes from.

    Attributes:
        metric: Name of the metric in code, e.g. `mean_iou`.
        value: The number.
        dataset: Name of the dataset, for people.
        command: The command line that measured it.
        split: Split of the dataset.
        title: Name of the metric for people; the same as `metric` if None.
        dataset_id: The dataset on the Hub, `owner/name`, if it is there.
        config: How it was measured in a few words, e.g. protocol and mode.
    """

    metric: str
    value: float
    dataset: str
    command: str
    split: str | None = None
    title: str | None = None
    dataset_id: str | None = None
    config: str | None = None


def slug(text: str) -> str:
    """Turns a name into letters, digits, dots and dashes."""
    return re.sub(r"[^\w.-]+", "-", text).strip("-").lower() or "data"


def eval_results(measurements: Iterable[Measurement], task_type: str) -> list[EvalResult]:
    """Turns measurements into entries of `model-index`.

    Raises:
        ValueError: If one has no command.
    """
    results = []
    for one in measurements:
        if not one.command.strip():
            raise ValueError(f"{one.metric} {one.value} on {one.dataset} has no command; say how it was measured.")
        results.append(
            EvalResult(
                task_type=task_type,
                dataset_type=one.dataset_id or slug(one.dataset),
                dataset_name=one.dataset,
                dataset_split=one.split,
                metric_type=one.metric,
                metric_name=one.title or one.metric,
                metric_value=one.value,
                metric_config=one.config,
                metric_args={"command": one.command},
            )
        )
    return results


def build_card(
    metadata: Mapping[str, Any],
    *,
    title: str,
    about: str,
    use: str,
    sections: Mapping[str, str],
    measurements: Iterable[Measurement] = (),
) -> ModelCard:
    """Builds a card.

    Args:
        metadata: Fields of `ModelCardData`; those that are None are left out.
        title: First heading.
        about: What it is.
        use: Python that runs as printed.
        sections: Heading to text, in order.
        measurements: Numbers for `model-index`.
    """
    fields = {key: value for key, value in metadata.items() if value is not None}
    found = eval_results(measurements, fields["pipeline_tag"])
    if found:
        fields["eval_results"] = found
        fields.setdefault("model_name", title)
    else:
        fields.pop("model_name", None)  # a `model-index` without results is not valid
    content: dict[str, Any] = {"title": title, "about": about, "use": use.rstrip(), "sections": dict(sections)}
    return ModelCard.from_template(ModelCardData(**fields), template_str=_TEMPLATE, **content)


# --------------------------------------------------------------------------------------------------------------- checks


def split_card(text: str) -> tuple[dict[str, Any], str]:
    """Separates metadata and body.

    Raises:
        ValueError: There is no metadata, or it is no valid YAML mapping.
    """
    match = re.match(r"\s*---[ \t]*\r?\n(.*?)\r?\n---[ \t]*(?:\r?\n|$)(.*)", text, re.DOTALL)
    if match is None:
        raise ValueError("README.md has no metadata: it must begin with a block between two lines of `---`.")
    try:
        metadata = yaml.safe_load(match[1])
    except yaml.YAMLError as error:
        raise ValueError(f"The metadata of README.md is no valid YAML: {error}") from error
    if not isinstance(metadata, dict):
        raise ValueError(f"The metadata of README.md is a {type(metadata).__name__}, not a mapping of fields.")
    return metadata, match[2]


def card_problems(text: str) -> list[str]:
    """Lists what a card lacks before it can be published; empty if nothing.

    Looks at the metadata as the Hub does (license, task, library, tags, results), and at the body as a reader does: an
    example in Python that can be parsed, training, limits, no place left to fill in, no number without its command.
    """
    try:
        metadata, body = split_card(text)
    except ValueError as error:
        return [str(error)]
    problems = [*_metadata_problems(metadata), *_result_problems(metadata)]
    headings = [line.lower() for line in re.findall(r"^#+\s+(.*)$", body, re.MULTILINE)]
    for section, words in SECTIONS.items():
        if not any(re.search(rf"\b{word}\b", heading) for heading in headings for word in words):
            problems.append(f"README.md has no section on {section}: add a heading with {' or '.join(words)}.")
    examples = code_blocks(body, "python")
    if not examples:
        problems.append("README.md shows no Python: add a fenced block that loads and uses the model.")
    for example in examples:
        try:
            ast.parse(example)
        except SyntaxError as error:
            problems.append(f"A Python block of README.md does not parse ({error}); give code that runs as printed.")
    left = PLACEHOLDERS.search(body)
    if left is not None:
        problems.append(f"README.md still says {left[0]!r}: fill it in.")
    return problems


def _metadata_problems(metadata: Mapping[str, Any]) -> list[str]:
    """Lists missing and illegal fields."""
    problems = []
    for field, advice in {
        "license": "add `license: apache-2.0` or the license of the weights (`hfseg push --license NAME`)",
        "pipeline_tag": f"add one of {', '.join(PIPELINE_TAGS)}",
        "library_name": f"add {' or '.join(LIBRARIES)}",
        "tags": "add a list of words",
    }.items():
        if not metadata.get(field):
            problems.append(f"README.md has no {field}: {advice}.")
    if metadata.get("pipeline_tag") and metadata["pipeline_tag"] not in PIPELINE_TAGS:
        problems.append(f"pipeline_tag is {metadata['pipeline_tag']!r}; must be one of {', '.join(PIPELINE_TAGS)}.")
    if metadata.get("library_name") and metadata["library_name"] not in LIBRARIES:
        problems.append(f"library_name is {metadata['library_name']!r}; must be one of {', '.join(LIBRARIES)}.")
    for field in ("tags", "datasets", "metrics"):
        value = metadata.get(field, [])
        if not isinstance(value, list) or not all(isinstance(entry, str) for entry in value):
            problems.append(f"{field} is {value!r}; it must be a list of strings.")
        elif len(set(value)) != len(value):
            problems.append(f"{field} names something twice: {value}.")
    bases = metadata.get("base_model") or []
    for field, values in {
        "base_model": [bases] if isinstance(bases, str) else bases,
        "datasets": metadata.get("datasets") or [],
    }.items():
        # Old datasets of the Hub have no owner.
        wrong = [
            value
            for value in values
            if not re.fullmatch(r"[\w.-]+" if field == "datasets" and "/" not in str(value) else HUB_ID, str(value))
        ]
        if wrong:
            problems.append(f"{field} is {wrong[0]!r}, which is no id on the Hub (owner/name): a dead link.")
    return problems


def _result_problems(metadata: Mapping[str, Any]) -> list[str]:
    """Lists what is wrong with `model-index`."""
    if "model-index" not in metadata:
        return []
    try:
        results = ModelCardData(**dict(metadata), ignore_metadata_errors=False).eval_results
    except (TypeError, ValueError, KeyError) as error:
        return [f"model-index cannot be read ({error}); give name, and results with task, dataset and metrics."]
    if not results:
        return ["model-index has no results: leave it out."]
    problems = []
    for result in results:
        value = result.metric_value
        if isinstance(value, bool) or not isinstance(value, (int, float)) or value != value:
            problems.append(f"model-index: {result.metric_type} is {value!r}; it must be a finite number.")
        if not (result.metric_args or {}).get("command"):
            problems.append(
                f"model-index: {result.metric_type} = {value} on {result.dataset_name} says no command; add "
                "`args: {command: ...}` to the metric."
            )
    return problems


def code_blocks(text: str, language: str) -> list[str]:
    """Returns the fenced blocks of a language."""
    return re.findall(rf"^```{language}\n(.*?)^```", text, re.DOTALL | re.MULTILINE)


# --------------------------------------------------------------------------------------------------------- result files


def result_files(metadata: Mapping[str, Any], dataset_ids: Mapping[str, str] | None = None) -> dict[str, str]:
    """Writes `model-index` in the Hub's newer form: `.eval_results/<dataset>--<metric>.yaml`, the command as note.

    What that form can hold, by the Hub's specification (huggingface.co/docs/hub/eval-results): one number per task of
    a dataset that is on the Hub and registered there as a benchmark, whose owner lists its tasks in `eval.yaml`.
    Hence

    - results on data that are not on the Hub stay in `model-index` alone. That is so for all results that this project
      has measured itself: `shapes` is drawn by the package, and its portions of CamVid, of the Decathlon's hippocampus
      and of the nuclei are no benchmarks of the Hub. Who has such a benchmark names it in `dataset_ids`;
    - of several metrics on one task, the one that `dataset_ids` names is written, else the card's first. The others
      stay in `model-index`, since a leaderboard that mixed metrics would compare nothing.

    Args:
        metadata: Metadata of a card.
        dataset_ids: Dataset in `model-index`, by name or type, or `<dataset>:<metric type>`, to its id on the Hub,
            with `#task` if the benchmark's task is not called `default`.

    Returns:
        Path in the repository to text.

    Raises:
        ValueError: `dataset_ids` has a dataset or metric that the card has no result of, an id that is none, or two
            metrics for one task.
    """
    given = dict(dataset_ids or {})
    results = (ModelCardData(**dict(metadata)).eval_results or []) if "model-index" in metadata else []
    chosen: dict[tuple[str, str], tuple[Any, bool]] = {}  # (dataset, task) to its result, and whether it was asked for
    used: set[str] = set()
    for result in results:
        key, of_metric = _key_of_result(result, given)
        used |= {key} if key else set()
        named = given[key] if key else str(result.dataset_type)
        dataset_id, _, task = named.partition("#")
        if not HUB_ID.fullmatch(dataset_id):
            if key:
                raise ValueError(f"{key!r} is to be {named!r}, which is no id on the Hub; give owner/name#task.")
            continue
        place = (dataset_id, task or "default")
        if of_metric and place in chosen and chosen[place][1]:
            raise ValueError(f"Two metrics are to be the number of {'#'.join(place)}; a task has one.")
        if of_metric or place not in chosen:
            chosen.pop(place, None)  # the first was a guess
            chosen[place] = (result, of_metric)
    unused = sorted(set(given) - used)
    if unused:
        known = sorted({f"{result.dataset_name}:{result.metric_type}" for result in results})
        raise ValueError(f"The card has no result of {', '.join(unused)}; it has {', '.join(known) or 'none'}.")
    return dict(_result_file(result, *place) for place, (result, _) in chosen.items())


def _key_of_result(result: Any, given: Mapping[str, str]) -> tuple[str | None, bool]:
    """Finds the entry of `dataset_ids` that means a result, and whether it names the metric too."""
    names = (result.dataset_name, result.dataset_type)
    of_metric = next((key for name in names if (key := f"{name}:{result.metric_type}") in given), None)
    return of_metric or next((name for name in names if name in given), None), of_metric is not None


def _result_file(result: Any, dataset_id: str, task: str) -> tuple[str, str]:
    """Writes a result as the only one of its file; returns path and text."""
    split = f", split {result.dataset_split}" if result.dataset_split else ""
    command = (result.metric_args or {}).get("command", "")
    entry = EvalResultEntry(
        dataset_id=dataset_id,
        task_id=task,
        value=result.metric_value,
        dataset_revision=result.dataset_revision,
        notes=f"{result.metric_name or result.metric_type}{split}; {command}",
    )
    path = f".eval_results/{slug(dataset_id.replace('/', '--'))}--{slug(result.metric_type)}"
    path += f"--{slug(task)}.yaml" if task != "default" else ".yaml"
    return path, yaml.safe_dump(eval_result_entries_to_yaml([entry]), sort_keys=False, allow_unicode=True)


def with_fields(text: str, fields: Mapping[str, Any]) -> str:
    """Sets fields in a card's metadata and leaves everything else as it is.

    Raises:
        ValueError: The card has no metadata that can be read.
    """
    metadata, body = split_card(text)
    metadata.update(fields)
    block = yaml.safe_dump(metadata, sort_keys=False, allow_unicode=True)
    return f"---\n{block}---\n{body}"


def with_evaluation(text: str, evaluation: str) -> str:
    """Adds the results of an evaluation to a card: to `model-index`, and as a table with the command that made them.

    Args:
        text: The card.
        evaluation: `model_index.yml` as `hfseg evaluate` writes it.

    Raises:
        ValueError: Card or evaluation cannot be read, or a result says no command.
    """
    metadata, body = split_card(text)
    try:
        added = ModelCardData(**yaml.safe_load(evaluation)).eval_results or []
        known = ModelCardData(**metadata)
    except (yaml.YAMLError, TypeError, KeyError, ValueError) as error:
        raise ValueError(f"The evaluation's model_index.yml cannot be read: {error}") from error
    commands = {str((result.metric_args or {}).get("command", "")) for result in added}
    if not added or "" in commands:
        raise ValueError("The evaluation's model_index.yml has no results, or results without their command.")
    kept = [old for old in known.eval_results or [] if not any(_same(old, new) for new in added)]
    name = known.model_name or "model"
    index = ModelCardData(model_name=name, eval_results=[*kept, *added]).to_dict()["model-index"]
    rows = [f"| {result.metric_name} | {result.metric_value:.4g} |" for result in added]
    first = added[0]
    split = f", split `{first.dataset_split}`" if first.dataset_split else ""
    table = "\n".join([f"{first.dataset_name}{split}.", "", "| metric | value |", "|---|---|", *rows])
    block = "\n".join(sorted(commands))
    section = f"\n## Evaluation\n\n{table}\n\n```bash\n{block}\n```\n"
    return with_fields(f"---\n{yaml.safe_dump(metadata)}---\n{body.rstrip()}\n{section}", {"model-index": index})


def _same(old: EvalResult, new: EvalResult) -> bool:
    """Says whether two results are of the same number."""
    fields = ("dataset_type", "dataset_split", "metric_type", "metric_config")
    return all(getattr(old, field) == getattr(new, field) for field in fields)
