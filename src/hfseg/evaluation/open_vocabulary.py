# Copyright 2026 The hfseg authors. Licensed under the Apache License, Version 2.0.
"""Evaluation of open-vocabulary models: the dataset's classes are asked for by their names."""

from collections.abc import Iterator, Mapping, Sequence
from typing import Any, ClassVar

from ..files.prompt_names import prompt_names
from .closed_vocabulary import THRESHOLDS, ClosedVocabularyEvaluator
from .labels import LabelMatch, embed_classes, read_labels
from .prediction import OpenVocabularySegmenter, Segmenter, open_vocabulary_samples

__all__ = ["OpenVocabularyEvaluator"]

# Options of models with classes of their own that such a model does not have.
SINGLE = {"mode": "single", "window": None, "stride": None, "scales": None, "flip": False}


class OpenVocabularyEvaluator(ClosedVocabularyEvaluator):
    """Open-vocabulary models.

    Options: `task`, `protocol`, `no_resize`, `instance_annotations` and thresholds as for models with classes of their
    own; `labels`, a JSON file (or mapping) of other names by class; `templates`, sentences with {} or a set's name.
    Classes of public datasets are asked for in plain words with synonyms (`hfseg.files.prompt_names`) unless `labels`
    says otherwise.
    """

    options_of_task: ClassVar[Mapping[str, Any]] = {
        "task": "all",
        "protocol": "default",
        "no_resize": False,
        "instance_annotations": None,
        "labels": None,
        "templates": None,
        **dict.fromkeys(THRESHOLDS),
    }

    def check_options(self) -> None:
        """Adds the one way in which such a model sees an image, and checks.

        Raises:
            ValueError: Options do not fit together.
        """
        for name, value in SINGLE.items():
            setattr(self.options, name, value)
        super().check_options()

    def match_labels(self) -> LabelMatch:
        """Classes are the dataset's own."""
        return LabelMatch.identity(len(self.dataset.id2label))

    def segmenter(self, stuff: set[int], thresholds: Mapping[str, float]) -> Segmenter:
        """What turns outputs into results; also embeds the names of the classes."""
        labels = self.options.labels
        given = dict(labels) if isinstance(labels, Mapping) else read_labels(labels)
        self.synonyms = {**prompt_names(self.dataset.id2label), **given}
        templates = self.options.templates or ["vild"]
        self.templates = [templates] if isinstance(templates, str) else list(templates)
        sentences: Any = self.templates if any("{}" in text for text in self.templates) else self.templates[0]
        self.text_embeds = embed_classes(
            self.loaded.model, self.loaded.processor, self.dataset.id2label, self.synonyms, sentences
        )
        return OpenVocabularySegmenter(self.image_processor, self.match, stuff, thresholds)

    def results(self, batches: Sequence[Sequence[int]]) -> Iterator[tuple[int, Any, dict[str, Any]]]:
        """Position, example and results of images, in order."""
        indices = (index for batch in batches for index in batch)
        model, processor = self.loaded.model, self.loaded.processor
        for sample in open_vocabulary_samples(model, processor, self.dataset, self.text_embeds, indices):
            yield sample.index, sample.example, self.segment(sample, self.tasks)

    def describe(self) -> dict[str, Any]:
        """What the numbers depend on, names and sentences included."""
        record = super().describe()
        record["labels"] |= {"names": self.synonyms or "the dataset's", "templates": self.templates}
        return record
