"""A classifier's repository on the Hugging Face hub, or a folder of the same layout: read, checked, and its weights fetched.

Refuses what would need code to open (pickled weights, classes of its own) before a weight is fetched. Builds no network.
"""

from __future__ import annotations

import json
import os
import re
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, replace
from pathlib import Path, PurePosixPath
from typing import Any

from core.errors import DetectorError
from core.foreign.network import MAX_BYTES
from core.hostile_text import visible
from core.records import SAMPLE_RATE_HZ
from core.whole_files import file_sha256

HUB_PREFIX = "hf:"
INSTALL = "pip install -r requirements-hub.txt"
NOT_STATED = "not stated"
FAMILIES = {
    "wav2vec2": ("Wav2Vec2ForSequenceClassification", "Wav2Vec2FeatureExtractor"),
    "wavlm": ("WavLMForSequenceClassification", "Wav2Vec2FeatureExtractor"),
    "hubert": ("HubertForSequenceClassification", "Wav2Vec2FeatureExtractor"),
    "unispeech-sat": ("UniSpeechSatForSequenceClassification", "Wav2Vec2FeatureExtractor"),
    "whisper": ("WhisperForAudioClassification", "WhisperFeatureExtractor"),
    "audio-spectrogram-transformer": ("ASTForAudioClassification", "ASTFeatureExtractor"),
    "wav2vec2-bert": ("Wav2Vec2BertForSequenceClassification", "SeamlessM4TFeatureExtractor"),
}
"""`model_type` of config.json -> the classes of `transformers` that build the network and prepare its input."""
_CONFIG, _EXTRACTOR, _CARD = "config.json", "preprocessor_config.json", "README.md"
_WEIGHTS, _INDEX = "model.safetensors", "model.safetensors.index.json"
_PICKLES = (".bin", ".pt", ".pth", ".ckpt", ".pkl", ".pickle", ".joblib", ".h5", ".msgpack")
_MAX_TEXT_BYTES = 2**20
_HEADER = re.compile(r"---[ \t]*\r?\n(.*?)\r?\n---[ \t]*(?:\r?\n|$)(.*)", flags=re.DOTALL)


@dataclass(frozen=True, slots=True, kw_only=True)
class HubRepository:
    """What a repository says of itself, before its weights are fetched."""

    source: str
    """`hf:OWNER/NAME`, or the folder."""
    revision: str
    """The commit; empty for a folder."""
    folder: Path
    """Holds config.json, preprocessor_config.json and the card."""
    licence: str
    card: str
    """README.md without its header; empty where there is none."""
    model_type: str
    """Key of `FAMILIES`."""
    labels: tuple[str, ...]
    """The name of each output."""
    weights: dict[str, str]
    """Names of the safetensors files -> SHA-256, empty where it is not known yet."""
    num_bytes: int
    """Of the weights."""

    @property
    def name(self) -> str:
        """The last part of the source, as a detector can be called."""
        last = PurePosixPath(self.source.removeprefix(HUB_PREFIX)).name
        return "".join(char if char.isascii() and (char.isalnum() or char in "._-") else "-" for char in last)[:64].lstrip("._-")

    @property
    def architecture(self) -> str:
        """The class of `transformers` that it is."""
        return FAMILIES[self.model_type][0]


def open_repository(source: str) -> HubRepository:
    """Reads what a repository says of itself.

    Args:
        source: `hf:OWNER/NAME`, `hf:OWNER/NAME@REVISION`, or a folder.

    Raises:
        DetectorError: it is not there, cannot be reached, or is none that is supported; it says what to do.
    """
    return _open_hub(source) if source.startswith(HUB_PREFIX) else _open_folder(Path(source))


def fetch_weights(repository: HubRepository) -> HubRepository:
    """The repository with its weights in its folder, and their hashes.

    Raises:
        DetectorError: they could not be fetched, or are not what the hub says.
    """
    hashes = {}
    for name, told in repository.weights.items():
        path = repository.folder / name
        if repository.source.startswith(HUB_PREFIX):
            path = _download(repository.source.removeprefix(HUB_PREFIX), name, repository.revision)
        hashes[name] = file_sha256(path)
        if told and hashes[name] != told:
            for damaged in {path.resolve(), path}:  # in the hub's cache a link to it
                damaged.unlink(missing_ok=True)
            raise DetectorError(
                f"{name} of {repository.source} came with other bytes than the hub states (SHA-256). It was removed; try again."
            )
    return replace(repository, weights=hashes)


def _open_folder(folder: Path) -> HubRepository:
    files = {path.name: path.stat().st_size for path in folder.iterdir() if path.is_file()}
    _check_files(files, str(folder))
    return _described(str(folder), "", folder, {name: (size, "") for name, size in files.items()})


def _open_hub(source: str) -> HubRepository:
    asked, _, revision = source.removeprefix(HUB_PREFIX).partition("@")
    with _hub_failures(asked):
        from huggingface_hub import HfApi

        told = HfApi(endpoint=_endpoint()).model_info(asked, revision=revision or None, files_metadata=True, timeout=30)
    files = {
        file.rfilename: (file.size or 0, file.lfs.sha256 if file.lfs else "")
        for file in told.siblings or ()
        if ".." not in PurePosixPath(file.rfilename).parts
    }
    source = f"{HUB_PREFIX}{asked}"
    _check_files(files, source)
    small = [name for name in (_CONFIG, _EXTRACTOR, _CARD, _INDEX) if name in files and files[name][0] <= _MAX_TEXT_BYTES]
    folders = [_download(asked, name, told.sha).parent for name in small]
    return _described(source, told.sha, folders[0], files)


def _check_files(files: Any, source: str) -> None:
    """Raises unless these are the files of a network that opens without running code."""
    if _CONFIG not in files:
        raise DetectorError(f"{source} has no {_CONFIG}: expected a network as `save_pretrained` of transformers writes it.")
    if code := sorted(name for name in files if name.endswith(".py")):
        raise DetectorError(
            f"{source} holds code ({visible(code[0])}); nothing of a repository is ever run. If the network needs none of it, "
            "save config.json, preprocessor_config.json, README.md and model.safetensors into a folder and import that."
        )
    if _WEIGHTS in files or _INDEX in files:
        return
    if pickles := sorted(name for name in files if name.endswith(_PICKLES)):
        raise DetectorError(
            f"{source} has its weights only as {visible(pickles[0])}, a format that can run code when it is opened; only "
            "safetensors are taken. Ask its authors for model.safetensors, or look whether another revision has it "
            "(hf:OWNER/NAME@REVISION)."
        )
    raise DetectorError(f"{source} has no {_WEIGHTS}: expected the whole network's weights as safetensors.")


def _described(source: str, revision: str, folder: Path, files: dict[str, tuple[int, str]]) -> HubRepository:
    """The repository, from its small files."""
    config = _read_json(folder / _CONFIG, source)
    model_type = config.get("model_type")
    if _EXTRACTOR not in files:
        raise DetectorError(f"{source} has no {_EXTRACTOR}, so that nobody knows how its input is prepared.")
    extractor = _read_json(folder / _EXTRACTOR, source)
    if any("auto_map" in part or "custom_pipelines" in part for part in (config, extractor)):
        raise DetectorError(f"{source} is built by code of its own (auto_map); nothing of a repository is ever run.")
    if model_type not in FAMILIES:
        supported = ", ".join(FAMILIES)
        raise DetectorError(f"{source} is a network of type {model_type!r}; supported are {supported}, as classifiers.")
    expected_class, expected_extractor = FAMILIES[model_type]
    classes = config.get("architectures") or ["no class"]
    if classes != [expected_class]:
        raise DetectorError(f"{source} is a {classes[0]}; expected a {expected_class}, which has a head that classifies.")
    if (found := extractor.get("feature_extractor_type", expected_extractor)) != expected_extractor:
        raise DetectorError(f"{source} has its input prepared by a {found}; expected {expected_extractor}.")
    if (rate_hz := extractor.get("sampling_rate", SAMPLE_RATE_HZ)) != SAMPLE_RATE_HZ:
        raise DetectorError(f"{source} hears {rate_hz} Hz; expected {SAMPLE_RATE_HZ} Hz, which everything here is brought to.")
    weights = {name: files[name] for name in _weight_files(folder, files, source)}
    num_bytes = sum(size for size, _ in weights.values())
    if num_bytes > MAX_BYTES:
        raise DetectorError(
            f"{source} has {num_bytes:,} bytes of weights; an ONNX file holds at most {MAX_BYTES:,}, about 500 million parameters."
        )
    licence, card = _licence_and_card(folder / _CARD) if _CARD in files else (NOT_STATED, "")
    return HubRepository(
        source=source,
        revision=revision,
        folder=folder,
        licence=licence,
        card=card,
        model_type=model_type,
        labels=_labels(config, source),
        weights={name: sha256 for name, (_, sha256) in weights.items()},
        num_bytes=num_bytes,
    )


def _weight_files(folder: Path, files: dict[str, tuple[int, str]], source: str) -> tuple[str, ...]:
    if _WEIGHTS in files:
        return (_WEIGHTS,)
    parts = _read_json(folder / _INDEX, source).get("weight_map")
    names = sorted(set(parts.values())) if isinstance(parts, dict) else []
    if not names or any(name not in files or not name.endswith(".safetensors") or "/" in name for name in names):
        raise DetectorError(f"{source}: {_INDEX} names files that are not there, or no safetensors; the repository is damaged.")
    return tuple(names)


def _labels(config: dict[str, Any], source: str) -> tuple[str, ...]:
    """The names of the outputs, in their order; `LABEL_0` ... where it names none, as transformers calls them then."""
    named = config.get("id2label") or {str(index): f"LABEL_{index}" for index in range(config.get("num_labels", 2))}
    try:
        labels = tuple(str(named[str(index)]) for index in range(len(named)))
    except (KeyError, TypeError):
        raise DetectorError(f"{source}: id2label in {_CONFIG} does not name the outputs 0, 1, ...; it is damaged.") from None
    if len(labels) < 2:
        raise DetectorError(f"{source} has {len(labels)} output(s); expected at least two, one for spoof and one for bona fide.")
    return labels


def _licence_and_card(path: Path) -> tuple[str, str]:
    """The licence that the card's header states, and the card without its header."""
    import yaml

    text = path.read_text(encoding="utf-8", errors="replace")
    found = _HEADER.match(text)
    if not found:
        return NOT_STATED, text.strip()
    header, body = found.groups()
    try:
        fields = yaml.safe_load(header)
    except (yaml.YAMLError, RecursionError, ValueError):
        fields = None
    fields = fields if isinstance(fields, dict) else {}
    stated = [fields.get(key) for key in ("license", "license_name", "license_link")]
    parts = [part for entry in stated if entry for part in (entry if isinstance(entry, list) else [entry])]
    return visible(", ".join(map(str, parts)))[:200] or NOT_STATED, body.strip()


def _read_json(path: Path, source: str) -> dict[str, Any]:
    try:
        read = json.loads(path.read_text(encoding="utf-8")) if path.stat().st_size <= _MAX_TEXT_BYTES else None
    except (ValueError, RecursionError, OSError):
        read = None
    if not isinstance(read, dict):
        raise DetectorError(f"{source}: {path.name} is not readable as JSON of at most 1 MB; the repository is damaged.")
    return read


def _endpoint() -> str | None:
    return os.environ.get("HF_ENDPOINT") or None


def _download(repository: str, name: str, revision: str) -> Path:
    """A file in the hub's own cache (`HF_HOME`); what is cut off goes on where it ended, a few times."""
    with _hub_failures(repository):
        from huggingface_hub import hf_hub_download

        return Path(hf_hub_download(repository, name, revision=revision, endpoint=_endpoint()))


@contextmanager
def _hub_failures(repository: str) -> Iterator[None]:
    """What the hub's library raises, as sentences that say what to do."""
    for setting in ("HF_HUB_DISABLE_TELEMETRY", "HF_HUB_DISABLE_XET"):  # read when it loads; plain HTTP goes on after a cut
        os.environ.setdefault(setting, "1")
    try:
        from huggingface_hub import errors
    except ImportError:
        raise DetectorError(f"Detectors from the hub need the packages transformers and huggingface_hub: {INSTALL}") from None
    try:
        yield
    except errors.HFValidationError:
        raise DetectorError(f"{repository!r} is not a repository's name; expected hf:OWNER/NAME.") from None
    except errors.GatedRepoError:
        raise DetectorError(
            f"{repository} is given only to those who accept its terms: accept them on its page and set HF_TOKEN to your token."
        ) from None
    except errors.RevisionNotFoundError:
        raise DetectorError(f"{repository} has no such revision; leave out @REVISION for the newest.") from None
    except errors.RepositoryNotFoundError:
        raise DetectorError(f"The hub has no repository {repository}, or does not show it to you; check the name.") from None
    except (errors.HTTPError, OSError, ValueError) as error:  # refused, no network, cut off, a full disk, a portal's page
        words = " ".join(str(error).split()) or type(error).__name__
        raise DetectorError(
            f"{repository} could not be fetched from the hub ({visible(words)[:200]}). Check the connection and try again. "
            "Without a network, import a folder that holds the repository's files."
        ) from None
