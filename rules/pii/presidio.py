"""Named entities and rarer national identifiers by Presidio, over a spaCy pipeline that does nothing but names.

Presidio's recognisers are called directly, and only those that need no network: its e-mail and URL recognisers, which
make `tldextract` fetch a list, are never built; our pattern tier has their work. Presidio's engine would download a
missing spaCy model; here that is a `ConfigurationError`.
"""

import re
import threading
from pathlib import Path
from typing import Any, Final

from gateway.domain.errors import ConfigurationError
from rules.pii.mention import Mention, windows

_ENTITIES: Final = {
    "PERSON": "PERSON",
    "PER": "PERSON",
    "GPE": "LOCATION",
    "LOC": "LOCATION",
    "FAC": "LOCATION",
    "ORG": "ORGANIZATION",
    "NORP": "NRP",
}
_SCORE: Final = 0.85  # spaCy gives none; Presidio's own default
_WINDOW: Final = 4_000  # characters; the model's memory grows with the text, its context does not
_RECOGNIZERS: Final = {
    "AuAbnRecognizer": "AU_ABN",
    "AuAcnRecognizer": "AU_ACN",
    "InGstinRecognizer": "IN_GSTIN",
    "InVoterRecognizer": "IN_VOTER",
    "KrBrnRecognizer": "KR_BRN",
    "KrDriverLicenseRecognizer": "KR_DRIVER_LICENSE",
    "KrFrnRecognizer": "KR_FRN",
    "KrRrnRecognizer": "KR_RRN",
    "NgNinRecognizer": "NG_NIN",
    "SgUenRecognizer": "SG_UEN",
    "ThTninRecognizer": "TH_TNIN",
}
"""Identifiers that our pattern tier does not know. They count only with one of their context words: most are a run of
digits in which one in ten passes the check."""

PRESIDIO_KINDS: Final = frozenset(_ENTITIES.values()) | frozenset(_RECOGNIZERS.values())
_IDENTIFIER: Final = re.compile(r"\d[\d \-./]{5,}\d|\b[A-Za-z]{0,5}\d{6,}")
_CONTEXT_CHARS: Final = 50
_CONTEXT_SCORE: Final = 0.85


class Presidio:
    """Finds `PERSON`, `LOCATION`, `ORGANIZATION`, `NRP` and national identifiers. Thread-safe; one text at a time,
    since a spaCy vocabulary belongs to one thread while its memory is bounded. About 2.5 ms for 30 words on one core.

    `model` is a spaCy package or a directory. Raises `ConfigurationError` when it is not there or names nothing.
    """

    def __init__(self, model: str) -> None:
        from presidio_analyzer import predefined_recognizers
        from presidio_analyzer.nlp_engine import NerModelConfiguration, SpacyNlpEngine

        self._pipeline = _load(model)
        language = self._pipeline.lang
        labels = self._pipeline.get_pipe("ner").labels
        configuration = NerModelConfiguration(
            model_to_presidio_entity_mapping=_ENTITIES,
            labels_to_ignore=[label for label in labels if label not in _ENTITIES],
            low_score_entity_names=[],
            default_score=_SCORE,
        )
        self._engine = SpacyNlpEngine(
            models=[{"lang_code": language, "model_name": model}], ner_model_configuration=configuration
        )
        self._engine.nlp = {language: self._pipeline}  # instead of `load`, which would download
        self._language = language
        self._names = predefined_recognizers.SpacyRecognizer(supported_language=language)
        self._entities = sorted(set(_ENTITIES.values()))
        self._identifiers = [getattr(predefined_recognizers, name)() for name in _RECOGNIZERS]
        self._lock = threading.Lock()
        self.kinds = PRESIDIO_KINDS
        meta = self._pipeline.meta
        self.version = f"{meta['lang']}_{meta['name']}-{meta['version']}"

    def find(self, text: str) -> list[Mention]:
        """Names and places, as the model marks them, sorted by place."""
        mentions: list[Mention] = []
        with self._lock:
            for start, end in windows(text, _WINDOW):
                with self._pipeline.memory_zone():  # words of this text leave the vocabulary with it
                    artifacts = self._engine.process_text(text[start:end], self._language)
                    results = self._names.analyze(text[start:end], self._entities, artifacts)
                    mentions += [
                        Mention(start + found.start, start + found.end, found.entity_type, found.score)
                        for found in results
                    ]
        return sorted(mentions)

    def identifiers(self, text: str) -> list[Mention]:
        """National identifiers that stand near a word that announces them."""
        if _IDENTIFIER.search(text) is None:
            return []
        return [
            Mention(found.start, found.end, found.entity_type, _CONTEXT_SCORE)
            for recognizer in self._identifiers
            for found in recognizer.analyze(text, recognizer.supported_entities)
            if found.score > 0 and _announced(text, found.start, found.end, recognizer.context)
        ]


def _announced(text: str, start: int, end: int, words: list[str]) -> bool:
    around = f"{text[max(0, start - _CONTEXT_CHARS) : start]} {text[end : end + _CONTEXT_CHARS]}".lower()
    return any(re.search(rf"(?<!\w){re.escape(word.lower())}(?!\w)", around) for word in words)


def _load(model: str) -> Any:
    """The pipeline with nothing but `ner`, and what feeds it."""
    import spacy

    if not (Path(model).is_dir() or spacy.util.is_package(model)):
        raise ConfigurationError(f"spaCy model `{Path(model).name}` is not installed: name a package or a directory")
    pipeline = spacy.load(model, exclude=_without_ner(spacy, model))
    if "ner" not in pipeline.pipe_names:
        raise ConfigurationError(f"spaCy model `{Path(model).name}` has no component `ner`: choose another one")
    return pipeline


def _without_ner(spacy: Any, model: str) -> list[str]:
    """Components that names do not need. Models whose `ner` listens to a shared `tok2vec` or transformer keep that; in
    the others it would be half of the work for nothing."""
    directory = Path(model) if Path(model).is_dir() else spacy.util.get_package_path(model)
    configs = sorted(directory.rglob("config.cfg"))
    if not configs:
        raise ConfigurationError(f"spaCy model `{directory.name}` has no `config.cfg`: choose another directory")
    config = spacy.util.load_config(configs[0])
    components = config["components"]
    embedding = components.get("ner", {}).get("model", {}).get("tok2vec", {})
    feeder = embedding.get("upstream", "") if "Listener" in embedding.get("@architectures", "") else ""
    feeds = {"tok2vec", "transformer"} if feeder == "*" else {feeder}
    return [name for name in config["nlp"]["pipeline"] if name != "ner" and name not in feeds]
