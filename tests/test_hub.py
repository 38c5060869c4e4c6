"""hub_repository, hub_front_ends, hub_network, hub_import: classifiers of the hub score as transformers does, or are refused."""

from __future__ import annotations

import io
import json
import shutil
import subprocess
import sys
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

import numpy as np
import onnxruntime
import pytest
import soundfile
import torch
from hub_networks import CARD, COMMIT, KINDS, LoopbackHub, extractor_of, save_classifier, serving
from safetensors.torch import load_file, save_file

from core.audio import load
from core.calibration import Calibration
from core.checkpoints import detector_named
from core.commands.program import main
from core.detect import Scorer
from core.errors import DetectorError
from core.foreign import hub_front_ends, hub_network
from core.foreign.detector_import import model_card
from core.foreign.hub_import import import_from_hub, spoof_columns
from core.foreign.hub_network import BONA_FIDE, SPOOF, HubClassifier, check_parity, export
from core.foreign.hub_repository import NOT_STATED, HubRepository, fetch_weights, open_repository
from core.foreign.records import Declaration
from core.records import Verdict
from core.segments import split_windows


@pytest.fixture(autouse=True)
def out(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """The folder of installed detectors, empty but for the shipped ones; a hub's cache of its own, and no hub at all."""
    folder = tmp_path / "installed"
    folder.mkdir()
    monkeypatch.setenv("EARWITNESS_DETECTORS", str(folder))
    monkeypatch.setenv("EARWITNESS_CACHE", str(tmp_path / "cache"))
    monkeypatch.delenv("EARWITNESS_DETECTOR", raising=False)
    monkeypatch.setattr("huggingface_hub.constants.HF_HUB_CACHE", str(tmp_path / "hub"))
    monkeypatch.setenv("HF_ENDPOINT", "http://127.0.0.1:9")  # where nobody listens
    return folder


@pytest.fixture(scope="module")
def saved(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A tiny wav2vec 2.0 as its makers save it; to be copied before it is changed."""
    return save_classifier(tmp_path_factory.mktemp("saved") / "tiny")


@pytest.fixture
def folder(saved: Path, tmp_path: Path) -> Path:
    """A copy of it."""
    return shutil.copytree(saved, tmp_path / "tiny")


@pytest.fixture
def hub(folder: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[LoopbackHub]:
    """A hub on loopback with that copy as `lab/tiny`."""
    with serving(folder) as (hub, address):
        monkeypatch.setenv("HF_ENDPOINT", address)
        yield hub


def refusal_of(source: Path | str) -> str:
    with pytest.raises(DetectorError) as refused:
        fetch_weights(open_repository(str(source)))
    return str(refused.value)


def change(path: Path, **fields: object) -> None:
    path.write_text(json.dumps(json.loads(path.read_text()) | fields))


# Networks --------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("kind", KINDS)
def test_each_kind_scores_in_onnx_as_in_transformers(kind: str, tmp_path: Path, speech_like) -> None:
    labels = ("real", "tts", "vc") if kind == "ast" else ("fake", "real")
    repository = fetch_weights(open_repository(str(save_classifier(tmp_path / "net", kind, labels=labels))))
    classifier, path = HubClassifier(repository), tmp_path / "net.onnx"
    spoof = spoof_columns(repository)
    export(classifier, spoof, path)
    assert check_parity(classifier, spoof, path, 32_000) < 1e-4
    session = onnxruntime.InferenceSession(path, providers=["CPUExecutionProvider"])
    for length in (16_000, 40_123):
        speech = [speech_like(length / 16_000, seed)[:length] for seed in (1, 2)]
        (found,) = session.run(["logits"], {"samples": np.stack(speech)})
        logits = classifier.logits(speech)
        by_hand = np.log(np.exp(logits)[:, list(spoof)].sum(1) / np.delete(np.exp(logits), list(spoof), 1).sum(1))
        scores = found[:, SPOOF] - found[:, BONA_FIDE]
        np.testing.assert_allclose(scores, by_hand, atol=1e-3)
        assert abs(scores[0] - scores[1]) > 3e-3  # the network hears something
        (alone,) = session.run(["logits"], {"samples": speech[1][None]})
        np.testing.assert_allclose(alone[0], found[1], atol=1e-4)


@pytest.mark.parametrize("kind", ["whisper", "ast", "wav2vec2-bert", "wav2vec2"])
def test_front_ends_give_what_the_extractors_give(kind: str, speech_like) -> None:
    extractor = extractor_of(kind)
    front_end = hub_network._FRONT_ENDS[type(extractor).__name__](extractor)
    for length in (64_000, 40_321):  # the latter with a frame left over
        speech = [0.3 + speech_like(4.0, seed)[:length] for seed in (1, 2)]  # not around 0
        prepared = extractor(speech, sampling_rate=16_000, return_tensors="pt")
        expected = prepared["input_values" if "input_values" in prepared else "input_features"]
        found = front_end(torch.from_numpy(np.stack(speech)))
        assert found.shape == expected.shape
        np.testing.assert_allclose(found.numpy(), expected.numpy(), atol=5e-3)
        assert np.abs(found.numpy() - expected.numpy()).mean() < 1e-4


def test_a_spectrum_is_the_discrete_fourier_transform() -> None:
    frame = torch.randn(3, 400, generator=torch.Generator().manual_seed(0))
    spectrum = hub_front_ends._PowerSpectrum(torch.eye(400), 512, 160)
    expected = torch.fft.rfft(frame, 512).abs() ** 2
    torch.testing.assert_close(spectrum(frame[:, None])[..., 0], expected, rtol=1e-3, atol=1e-3)


def test_what_scores_otherwise_is_refused(saved: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, out: Path) -> None:
    repository = open_repository(str(saved))
    true = HubClassifier.logits
    monkeypatch.setattr(HubClassifier, "logits", lambda self, segments: true(self, segments) + np.array([[0.0, 0.01]]))
    with pytest.raises(DetectorError, match=r"its logits in ONNX Runtime differ from those in PyTorch by 0\.0\d+ of the largest"):
        import_from_hub(repository, "tiny", Declaration())
    assert list(out.iterdir()) == []
    assert list((tmp_path / "cache").iterdir()) == []


def test_a_window_longer_than_the_network_hears(tmp_path: Path) -> None:
    repository = open_repository(str(save_classifier(tmp_path / "net", "whisper")))
    with pytest.raises(DetectorError, match="hears at most 480,000 samples at once, not 480,001; choose a smaller --length"):
        import_from_hub(repository, "tiny", Declaration(window_samples=480_001))


def test_weights_that_are_not_all_there(folder: Path, out: Path) -> None:
    path = folder / "model.safetensors"
    weights = load_file(path)
    save_file({name: weight for name, weight in weights.items() if not name.startswith("classifier")}, path, {"format": "pt"})
    with pytest.raises(DetectorError, match=r"lacks 2 of the weights of a Wav2Vec2ForSequenceClassification \(classifier.bias\)"):
        import_from_hub(open_repository(str(folder)), "tiny", Declaration())
    path.write_bytes(path.read_bytes()[:-1_000])
    with pytest.raises(DetectorError, match=r"transformers cannot open .* The repository is damaged"):
        import_from_hub(open_repository(str(folder)), "tiny", Declaration())
    save_file(weights, path, {"format": "pt"})
    change(folder / "config.json", hidden_size="many")
    with pytest.raises(DetectorError, match="transformers cannot open"):
        import_from_hub(open_repository(str(folder)), "tiny", Declaration())
    assert list(out.iterdir()) == []


def test_weights_in_several_files(tmp_path: Path) -> None:
    folder = save_classifier(tmp_path / "net", shard="12KB")
    repository = fetch_weights(open_repository(str(folder)))
    assert len(repository.weights) > 1
    assert all(len(sha256) == 64 for sha256 in repository.weights.values())
    assert HubClassifier(repository).logits([np.zeros(16_000, dtype=np.float32)]).shape == (1, 2)
    index = json.loads((folder / "model.safetensors.index.json").read_text())
    index["weight_map"]["classifier.bias"] = "../../secret.safetensors"
    (folder / "model.safetensors.index.json").write_text(json.dumps(index))
    assert "names files that are not there" in refusal_of(folder)


# What a repository says ------------------------------------------------------------------------------------------


def test_what_needs_code_is_refused(folder: Path, hub: LoopbackHub) -> None:
    (folder / "modeling_secret.py").write_text("raise SystemExit('ran')")
    for source in (folder, "hf:lab/tiny"):
        assert "holds code (modeling_secret.py); nothing of a repository is ever run" in refusal_of(source)
    (folder / "modeling_secret.py").unlink()
    change(folder / "config.json", auto_map={"AutoModelForAudioClassification": "modeling_secret.Secret"})
    for source in (folder, "hf:lab/tiny"):
        assert "is built by code of its own (auto_map); nothing of a repository is ever run" in refusal_of(source)
    assert not any("safetensors" in asked for asked in hub.asked)


def test_pickled_weights_are_refused(folder: Path, hub: LoopbackHub) -> None:
    (folder / "model.safetensors").rename(folder / "pytorch_model.bin")
    for source in (folder, "hf:lab/tiny"):
        assert "has its weights only as pytorch_model.bin, a format that can run code" in refusal_of(source)
    assert not any(".bin" in asked for asked in hub.asked)
    (folder / "pytorch_model.bin").unlink()
    assert "has no model.safetensors" in refusal_of(folder)


@pytest.mark.parametrize(
    ("file", "fields", "words"),
    [
        ("config.json", {"model_type": "encodec"}, "is a network of type 'encodec'; supported are wav2vec2, wavlm"),
        ("config.json", {"architectures": ["Wav2Vec2ForCTC"]}, "is a Wav2Vec2ForCTC; expected a Wav2Vec2ForSequenceClassification"),
        ("config.json", {"architectures": None}, "is a no class; expected"),
        ("config.json", {"id2label": {"0": "fake", "7": "real"}}, "does not name the outputs 0, 1, ...; it is damaged"),
        ("config.json", {"id2label": {"0": "fake"}}, "has 1 output(s); expected at least two"),
        ("preprocessor_config.json", {"sampling_rate": 8_000}, "hears 8000 Hz; expected 16000 Hz"),
        ("preprocessor_config.json", {"feature_extractor_type": "ASTFeatureExtractor"}, "prepared by a ASTFeatureExtractor"),
        ("preprocessor_config.json", {"auto_map": {}}, "is built by code of its own"),
    ],
)
def test_what_does_not_fit(folder: Path, file: str, fields: dict, words: str) -> None:
    change(folder / file, **fields)
    assert words in refusal_of(folder)


def test_files_that_are_missing_or_damaged(folder: Path) -> None:
    for content in ("{", "[]", "[" * 100_000, "\0"):
        (folder / "config.json").write_text(content)
        assert "config.json is not readable as JSON" in refusal_of(folder)
    shutil.copy(folder / "preprocessor_config.json", folder / "config.json")
    (folder / "preprocessor_config.json").unlink()
    assert "has no preprocessor_config.json" in refusal_of(folder)
    (folder / "config.json").unlink()
    assert "has no config.json" in refusal_of(folder)


@pytest.mark.parametrize(
    ("text", "licence", "card"),
    [
        (CARD, "apache-2.0", "# A tiny detector\n\nTrained on nothing."),
        ("---\nlicense: other\nlicense_name: ours\nlicense_link: LICENSE\n---\n", "other, ours, LICENSE", ""),
        ("---\nlicense: [mit, cc0-1.0]\n---\nWords.", "mit, cc0-1.0", "Words."),
        ("---\ntags: [a]\n---\nWords.", NOT_STATED, "Words."),
        ("---\nlicense: [\n---\nWords.", NOT_STATED, "Words."),
        ("---\nlicense: !!python/object/apply:os.system [ls]\n---\nWords.", NOT_STATED, "Words."),
        ("Words --- and more.", NOT_STATED, "Words --- and more."),
    ],
)
def test_licence_and_card_are_read(folder: Path, text: str, licence: str, card: str) -> None:
    (folder / "README.md").write_text(text)
    repository = open_repository(str(folder))
    assert (repository.licence, repository.card) == (licence, card)


# Labels ----------------------------------------------------------------------------------------------------------


def _labelled(*labels: str) -> HubRepository:
    return HubRepository(
        source="hf:lab/tiny",
        revision="",
        folder=Path(),
        licence="",
        card="",
        model_type="wavlm",
        labels=labels,
        weights={},
        num_bytes=0,
    )


@pytest.mark.parametrize(
    ("labels", "spoof"),
    [
        (("fake", "real"), (0,)),
        (("bonafide", "spoof"), (1,)),
        (("Bona-fide", "Deepfake"), (1,)),
        (("AIVoice", "HumanVoice"), (0,)),
        (("genuine_speech", "tts", "voice VC"), (1, 2)),
        (("ORIGINAL", "ai-generated"), (1,)),
    ],
)
def test_labels_mean_what_they_say(labels: tuple[str, ...], spoof: tuple[int, ...]) -> None:
    assert spoof_columns(_labelled(*labels)) == spoof


@pytest.mark.parametrize(
    "labels", [("LABEL_0", "LABEL_1"), ("fake", "music"), ("real", "not real"), ("spoof", "fake"), ("real fake", "real")]
)
def test_labels_that_do_not_say_it_are_asked_for(labels: tuple[str, ...]) -> None:
    with pytest.raises(DetectorError, match=r"do not say which of them mean spoof.*--spoof-labels"):
        spoof_columns(_labelled(*labels))
    assert spoof_columns(_labelled(*labels), [labels[1]]) == (1,)
    with pytest.raises(DetectorError, match="has no label 'a'; its labels are"):
        spoof_columns(_labelled(*labels), ["a"])
    with pytest.raises(DetectorError, match="Every label of hf:lab/tiny would mean spoof"):
        spoof_columns(_labelled(*labels), labels)


# The hub ---------------------------------------------------------------------------------------------------------


def test_a_detector_from_the_hub_scores_a_recording(
    hub: LoopbackHub, tmp_path: Path, speech_like, capsys: pytest.CaptureFixture[str]
) -> None:
    wav = tmp_path / "speech.wav"
    soundfile.write(wav, speech_like(5.3, 3), 16_000, subtype="FLOAT")
    assert main(["import-detector", "hf:lab/tiny", "--yes", "--length", "32000"]) == 0
    printed = capsys.readouterr().out
    assert "# A tiny detector\n\nTrained on nothing." in printed
    assert f"hf:lab/tiny, revision {COMMIT}: Wav2Vec2ForSequenceClassification" in printed
    assert "Licence: apache-2.0\nLabels: fake = spoof, real = bona fide\n" in printed
    assert "samples, 32,000 samples at once, several segments at a time\nIt is not calibrated" in printed

    detector = detector_named("tiny")
    origin = detector.manifest.provenance["hub"]
    assert (origin["source"], origin["revision"], origin["licence"]) == ("hf:lab/tiny", COMMIT, "apache-2.0")
    assert (origin["architecture"], origin["spoof_labels"]) == ("Wav2Vec2ForSequenceClassification", ["fake"])
    assert origin["difference"] < 1e-5
    assert detector.manifest.provenance["opsets"] == {"ai.onnx": 17}
    (detection,) = Scorer(detector).score_file(wav).detections
    windows = list(split_windows(load(wav)[0], 32_000).numpy())
    logits = HubClassifier(fetch_weights(open_repository("hf:lab/tiny"))).logits(windows)
    assert detection.verdict is Verdict.INCONCLUSIVE
    assert [segment.spoof_score for segment in detection.segments] == pytest.approx(logits[:, 0] - logits[:, 1], abs=1e-4)
    for manifest in (detector.manifest, replace(detector.manifest, calibration=Calibration(slope=1.0, offset=0.0))):
        assert f"`hf:lab/tiny`, revision `{COMMIT}`; `model.safetensors` (SHA-256" in model_card(manifest)
        assert "**Licence**, as stated there: `apache-2.0`" in model_card(manifest)
    assert main(["import-detector", "hf:lab/tiny", "--yes"]) == 1
    assert "There is a detector 'tiny' already" in capsys.readouterr().err


def test_an_interrupted_download_goes_on(hub: LoopbackHub, folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("time.sleep", lambda _: None)
    monkeypatch.setattr("huggingface_hub.constants.DOWNLOAD_CHUNK_SIZE", 1_000)
    hub.cut_at, hub.num_cuts = 20_000, 1
    fetched = fetch_weights(open_repository("hf:lab/tiny"))
    assert (fetched.folder / "model.safetensors").read_bytes() == (folder / "model.safetensors").read_bytes()
    assert any(asked.endswith("model.safetensors bytes=20000-") for asked in hub.asked)


def test_a_download_that_ends_every_time_is_told(
    hub: LoopbackHub, monkeypatch: pytest.MonkeyPatch, tmp_path: Path, out: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr("time.sleep", lambda _: None)
    hub.cut_at, hub.num_cuts = 20_000, 1_000
    assert main(["import-detector", "hf:lab/tiny", "--yes"]) == 1
    error = capsys.readouterr().err
    assert "lab/tiny could not be fetched from the hub (" in error
    assert "Check the connection and try again." in error
    assert list(out.iterdir()) == []
    assert not list(tmp_path.rglob("*.incomplete"))
    hub.num_cuts = 0
    fetch_weights(open_repository("hf:lab/tiny"))


def test_other_bytes_than_the_hub_states_are_removed(hub: LoopbackHub) -> None:
    hub.is_damaged = True
    assert "model.safetensors of hf:lab/tiny came with other bytes than the hub states (SHA-256)" in refusal_of("hf:lab/tiny")
    hub.is_damaged = False
    fetch_weights(open_repository(f"hf:lab/tiny@{COMMIT}"))


def test_a_hub_that_is_not_there_or_refuses(hub: LoopbackHub, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("time.sleep", lambda _: None)
    assert "The hub has no repository lab/other, or does not show it to you" in refusal_of("hf:lab/other")
    assert "lab/tiny has no such revision; leave out @REVISION" in refusal_of("hf:lab/tiny@v9")
    assert "'a/b/c' is not a repository's name; expected hf:OWNER/NAME" in refusal_of("hf:a/b/c")
    hub.refusal = (403, "GatedRepo")
    assert "accept them on its page and set HF_TOKEN" in refusal_of("hf:lab/tiny")
    hub.refusal = (500, "")
    assert "lab/tiny could not be fetched from the hub (" in refusal_of("hf:lab/tiny")
    monkeypatch.setenv("HF_ENDPOINT", "http://127.0.0.1:9")
    words = refusal_of("hf:lab/tiny")
    assert "Connection refused" in words
    assert "Without a network, import a folder that holds the repository's files." in words


def test_the_hubs_library_reports_to_nobody() -> None:
    program = """
import sys
from core.errors import DetectorError
from core.foreign.hub_repository import open_repository
assert "huggingface_hub" not in sys.modules
try:
    open_repository("hf:a/b/c")
except DetectorError:
    from huggingface_hub import constants
    assert constants.HF_HUB_DISABLE_TELEMETRY and constants.HF_HUB_DISABLE_XET
"""
    done = subprocess.run([sys.executable, "-c", program], cwd=Path(__file__).parents[1], capture_output=True, text=True)
    assert done.returncode == 0, done.stderr


def test_without_the_packages_it_says_what_to_install(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    for name in ("transformers", "huggingface_hub"):
        monkeypatch.setitem(sys.modules, name, None)
    words = "Detectors from the hub need the packages transformers and huggingface_hub: pip install -r requirements-hub.txt"
    for source in ("hf:lab/tiny", str(folder)):
        with pytest.raises(DetectorError, match=words):
            import_from_hub(open_repository(source), "tiny", Declaration())


# The command -----------------------------------------------------------------------------------------------------


def test_nobody_agrees_unasked(
    folder: Path, out: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    (folder / "README.md").write_text("# Ours\n\x1b[2J\n" + "line\n" * 100)
    assert main(["import-detector", str(folder)]) == 1
    told = capsys.readouterr()
    assert "Licence: not stated: ask its authors before you use it" in told.out
    assert "# Ours\n\\x1b[2J\nline" in told.out
    assert "[42 more lines in " in told.out
    assert "read licence and card above, and add --yes if you agree" in told.err
    terminal = io.StringIO("n\n")
    terminal.isatty = lambda: True
    monkeypatch.setattr("sys.stdin", terminal)
    assert main(["import-detector", str(folder)]) == 1
    told = capsys.readouterr()
    assert told.out.endswith("Import it under this licence? [y/N] ")
    assert told.err == "error: Nothing was imported.\n"
    assert list(out.iterdir()) == []


def test_a_folder_with_labels_of_no_meaning(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys) -> None:
    folder = save_classifier(tmp_path / "my net", labels=("LABEL_0", "LABEL_1"))
    assert main(["import-detector", str(folder), "--yes"]) == 1
    assert "do not say which of them mean spoof" in capsys.readouterr().err
    terminal = io.StringIO("y\n")
    terminal.isatty = lambda: True
    monkeypatch.setattr("sys.stdin", terminal)
    assert main(["import-detector", str(folder), "--spoof-labels", "LABEL_1"]) == 0
    assert "LABEL_0 = bona fide, LABEL_1 = spoof" in capsys.readouterr().out
    detector = detector_named("my-net")
    assert detector.manifest.provenance["hub"]["bona_fide_labels"] == ["LABEL_0"]
    assert detector.manifest.window_samples == 64_000


def test_options_of_the_other_kind_are_told(folder: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["import-detector", str(folder), "--yes", "--output", "1"]) == 1
    assert "--output is for ONNX files; a classifier says by its labels what it means" in capsys.readouterr().err
    assert main(["import-detector", str(folder), "--yes", "--input", "mel"]) == 1
    assert "takes samples, not mel; leave out --input" in capsys.readouterr().err
    assert main(["import-detector", str(tmp_path / "a.onnx"), "--name", "a", "--output", "1"]) == 1
    assert "does not say what it is fed and what it means; add --input, --higher-means." in capsys.readouterr().err
    (folder / "README.md").unlink()
    assert main(["import-detector", str(folder), "--name", "a b", "--yes"]) == 1
    assert "'a b' cannot be a detector's name" in capsys.readouterr().err
