"""network, detector_import: ONNX networks made elsewhere score as by hand wherever detectors do, or are refused."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pytest
import soundfile
import torch
from onnx import TensorProto, helper

from core.audio import load
from core.cache import cache_folder
from core.calibration import Calibration, Thresholds, fit_calibration
from core.checkpoints import detector_named, load_detector
from core.commands.program import main
from core.detect import Scorer
from core.detector_config import IMAGE_SIZE, FeatureConfig
from core.errors import DetectorError
from core.features import build_front_end
from core.foreign import network as foreign
from core.foreign.detector_import import import_detector
from core.foreign.network import ForeignSession
from core.foreign.records import Declaration
from core.networks.opening import open_network
from core.records import AuditStatus, ScanSettings, Verdict
from core.reports import recording_json
from core.runtime import open_session
from core.scanning.scan import prepare_audit, run_audit
from core.segments import WindowStream, split_windows
from core.store.exports import export_audit
from core.store.triage import score_histogram
from tests.foreign_networks import logits_by_hand, with_external_weights, write_level_network


@pytest.fixture
def out(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """The folder of installed detectors, empty but for the shipped ones."""
    folder = tmp_path / "installed"
    folder.mkdir()
    monkeypatch.setenv("EARWITNESS_DETECTORS", str(folder))
    monkeypatch.delenv("EARWITNESS_DETECTOR", raising=False)
    return folder


@pytest.fixture
def recording(tmp_path: Path, speech_like) -> Path:
    """5.3 s of speech: at 0.5 s a window, the last one ends with the recording."""
    path = tmp_path / "speech.wav"
    soundfile.write(path, speech_like(5.3, 3), 16_000, subtype="FLOAT")
    return path


LEVEL = Declaration(window_samples=8_000, column=1, minus=0)
LEVEL_2S = Declaration(window_samples=32_000, column=1, minus=0)


# Scores ----------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("shape", [("batch", 8_000), ("batch", 1, 8_000), (1, 8_000), (1, 1, "time"), ("batch", "time")])
def test_scores_are_those_by_hand(out: Path, tmp_path: Path, recording: Path, shape: tuple) -> None:
    detector = import_detector(write_level_network(tmp_path / "a.onnx", shape=shape), "level", LEVEL)
    assert detector.manifest.network.is_batched is (shape[0] == "batch")
    record = Scorer(detector).score_file(recording)
    windows = split_windows(load(recording)[0], 8_000)
    by_hand = logits_by_hand(windows.numpy())
    expected = by_hand[:, 1] - by_hand[:, 0]
    (detection,) = record.detections
    scores = np.array([segment.spoof_score for segment in detection.segments])
    judged = ~np.isnan(scores)  # the pauses of 0.5 s windows
    assert judged.sum() >= 5
    np.testing.assert_allclose(scores[judged], expected[judged], rtol=1e-4)
    assert detection.spoof_score == pytest.approx(expected[judged].mean(), rel=1e-4)
    assert (detection.verdict, detection.probability) == (Verdict.INCONCLUSIVE, None)
    starts = [segment.start_s for segment in detection.segments]
    assert starts[:3] == [0.0, 0.25, 0.5]
    assert starts[-1] == pytest.approx(5.3 - 0.5)
    assert detection.segments[-1].end_s == pytest.approx(5.3)


@pytest.mark.parametrize(
    ("declared", "score"),
    [
        ({"column": 1}, lambda logits: logits[1]),
        ({"column": 0, "higher_means": "bona fide"}, lambda logits: -logits[0]),
        ({"column": 0, "minus": 1, "higher_means": "bona fide"}, lambda logits: logits[1] - logits[0]),
        ({"column": 1, "calibration": Calibration(slope=0.5, offset=-3.0)}, lambda logits: 0.5 * logits[1] - 3.0),
    ],
)
def test_output_and_sign_are_as_declared(out: Path, tmp_path: Path, declared: dict, score) -> None:
    detector = import_detector(write_level_network(tmp_path / "a.onnx"), "level", Declaration(window_samples=8_000, **declared))
    windows = torch.linspace(-0.5, 0.5, 24_000).view(3, 8_000)
    scores = Scorer(detector).score_windows(windows)
    np.testing.assert_allclose(scores.numpy(), [score(row) for row in logits_by_hand(windows.numpy())], rtol=1e-5)


@pytest.mark.parametrize(("dtype", "tolerance"), [(TensorProto.FLOAT16, 2e-2), (TensorProto.DOUBLE, 1e-5)])
def test_other_precisions_are_fed(out: Path, tmp_path: Path, dtype: int, tolerance: float) -> None:
    detector = import_detector(write_level_network(tmp_path / "a.onnx", dtype=dtype), "level", LEVEL)
    windows = torch.linspace(-0.5, 0.5, 16_000).view(2, 8_000)
    logits = logits_by_hand(windows.numpy())
    np.testing.assert_allclose(Scorer(detector).score_windows(windows).numpy(), logits[:, 1] - logits[:, 0], rtol=tolerance)


@pytest.mark.parametrize("kind", ["log_spectrogram", "multi_resolution"])
def test_feature_images_are_fed(out: Path, tmp_path: Path, speech_like, kind: str) -> None:
    config = FeatureConfig(kind=kind)
    shape = ("batch", config.num_channels, IMAGE_SIZE, IMAGE_SIZE)
    detector = import_detector(write_level_network(tmp_path / "a.onnx", shape=shape), "level", Declaration(input=kind, column=1))
    windows = torch.from_numpy(speech_like(8.0)).view(2, 64_000)
    expected = logits_by_hand(build_front_end(config)(windows).numpy())[:, 1]
    np.testing.assert_allclose(Scorer(detector).score_windows(windows).numpy(), expected, rtol=1e-4)


def test_an_image_of_another_length_and_without_channels(out: Path, tmp_path: Path) -> None:
    num_frames = 1 + 32_000 // 286
    path = write_level_network(tmp_path / "a.onnx", shape=("batch", 224, num_frames))
    detector = import_detector(path, "level", Declaration(input="mel", window_samples=32_000, column=1))
    assert detector.manifest.network.input_shape == (224, num_frames)
    assert detector.manifest.window_s == 2.0


def test_our_own_export_comes_back_as_the_same_detector(tiny_detector, tmp_path: Path, recording: Path) -> None:
    open_session(tiny_detector)
    (exported,) = cache_folder().glob(f"{tiny_detector.hash}.*.onnx")
    manifest = tiny_detector.manifest
    values = {"calibration": manifest.calibration, "thresholds": manifest.thresholds, "output_name": "logits"}
    declared = Declaration(input="log_spectrogram", column=1, minus=0, **values)  # beside the logits there is the embedding
    copy = import_detector(exported, "copy", declared, out=tmp_path / "out")
    (first,), (second,) = (Scorer(detector).score_file(recording).detections for detector in (tiny_detector, copy))
    assert second == first


def test_a_batch_that_the_graph_mixes_is_run_one_by_one(out: Path, tmp_path: Path) -> None:
    mixing = [  # subtracts the batch's mean, as a normalisation left in training mode does
        helper.make_node("ReduceMean", ["wave"], ["mean"], axes=[0], keepdims=1),
        helper.make_node("Sub", ["wave", "mean"], ["centred"]),
        helper.make_node("Sub", ["wave", "centred"], ["fed"]),
    ]
    detector = import_detector(write_level_network(tmp_path / "a.onnx", nodes=mixing), "level", LEVEL)
    assert not detector.manifest.network.is_batched
    windows = torch.linspace(-0.5, 0.5, 16_000).view(2, 8_000)
    logits = logits_by_hand(windows.numpy())
    np.testing.assert_allclose(Scorer(detector).score_windows(windows).numpy(), logits[:, 1] - logits[:, 0], rtol=1e-4)


def test_one_of_several_outputs_is_chosen_by_name(out: Path, tmp_path: Path) -> None:
    more = [helper.make_tensor_value_info("flat", TensorProto.FLOAT, ["batch", 8_000])]
    path = write_level_network(tmp_path / "a.onnx", outputs=more)
    with pytest.raises(DetectorError, match=r"has 2 outputs \(logits \[any, 2\], flat \[any, 8000\]\); say by name"):
        import_detector(path, "level", LEVEL)
    with pytest.raises(DetectorError, match=r"has no output 'embedding' of floating-point numbers; it has logits"):
        import_detector(path, "level", Declaration(window_samples=8_000, output_name="embedding"))
    declared = Declaration(window_samples=8_000, column=1, minus=0, output_name="logits")
    assert import_detector(path, "level", declared).manifest.network.output_name == "logits"


def test_a_network_that_answers_differently_each_time_is_refused(out: Path, tmp_path: Path) -> None:
    noisy = [helper.make_node("RandomNormalLike", ["wave"], ["noise"]), helper.make_node("Add", ["wave", "noise"], ["fed"])]
    with pytest.raises(DetectorError, match="answers differently each time: two runs on a tone score"):
        import_detector(write_level_network(tmp_path / "a.onnx", nodes=noisy), "level", LEVEL)


def test_outputs_without_scores_are_left_alone(out: Path, tmp_path: Path) -> None:
    """The number of the class beside the logits: nobody asked for it."""
    nodes = [helper.make_node("Identity", ["wave"], ["fed"]), helper.make_node("ArgMax", ["wave"], ["cls"], axis=1, keepdims=0)]
    more = [helper.make_tensor_value_info("cls", TensorProto.INT64, ["batch"])]
    path = write_level_network(tmp_path / "a.onnx", nodes=nodes, outputs=more)
    assert import_detector(path, "level", LEVEL).manifest.network.output_name == "logits"


def test_a_recording_without_a_finite_score_is_refused(out: Path, tmp_path: Path, recording: Path) -> None:
    # 1 / (1 - peak): infinite for full scale, finite for the quiet tone and silence it is tried on.
    loud = [
        helper.make_node("ReduceMax", ["wave"], ["peak"], axes=[1], keepdims=1),
        helper.make_node("Floor", ["peak"], ["is_full"]),
    ]
    loud += [helper.make_node("Sub", ["one", "is_full"], ["left"]), helper.make_node("Div", ["wave", "left"], ["fed"])]
    one = helper.make_tensor("one", TensorProto.FLOAT, [1], [1.0])
    path = write_level_network(tmp_path / "a.onnx", nodes=loud, initializers=[one])
    detector = import_detector(path, "level", LEVEL)
    samples = load(recording)[0].numpy()
    samples[10_000] = 1.0
    soundfile.write(tmp_path / "clipped.wav", samples, 16_000, subtype="FLOAT")
    first, second = Scorer(detector).score_files([recording, tmp_path / "clipped.wav"])
    assert first.detections[0].verdict is Verdict.INCONCLUSIVE
    (detection,) = second.detections
    assert (detection.verdict, detection.reason_code) == (Verdict.REFUSED, "no_score")
    assert "NaN or infinity for 1 of 21 segments" in detection.reason


def test_windows_of_another_length() -> None:
    stream = WindowStream(6_000)
    samples = torch.arange(10_000, dtype=torch.float32)
    found = [item for block in samples.split(700) for item in stream.push(block)] + list(stream.finish())
    assert [start for start, _ in found] == [0, 3_000, 4_000]
    assert all(torch.equal(window, samples[start : start + 6_000]) for start, window in found)
    assert split_windows(torch.arange(4.0), 6).tolist() == [[0, 1, 2, 3, 0, 1]]


# The folder ------------------------------------------------------------------------------------------------------


def test_the_folder_comes_back_and_its_hash_covers_both_files(out: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    path = write_level_network(tmp_path / "a.onnx")
    detector = import_detector(path, "level", LEVEL, summary="A test.")
    assert sorted(file.name for file in detector.folder.iterdir()) == ["README.md", "detector.json", "model.onnx"]
    assert detector.graph_path.read_bytes() == path.read_bytes()
    assert load_detector(detector.folder) == detector == detector_named("level")
    assert json.loads((detector.folder / "detector.json").read_text())["calibration"] is None
    assert "has measured no error rates" in detector.card
    assert "by-hand" in detector.card
    monkeypatch.setattr("core.checkpoints._LARGE_BYTES", 0)  # as of a large file: hashed once for each state of it
    assert load_detector(detector.folder).hash == detector.hash
    content = bytearray(detector.graph_path.read_bytes())
    content[-1] ^= 1
    detector.graph_path.write_bytes(content + b"\0")
    assert load_detector(detector.folder).hash != detector.hash


def test_files_of_two_kinds_are_not_mixed(out: Path, tmp_path: Path, tiny_detector) -> None:
    detector = import_detector(write_level_network(tmp_path / "a.onnx"), "level", LEVEL, out=tmp_path / "out")
    (detector.folder / "detector.json").write_bytes((tiny_detector.folder / "detector.json").read_bytes())
    with pytest.raises(DetectorError, match=r"detector.json and model.onnx do not belong together"):
        load_detector(detector.folder)


def test_what_needs_weights_says_what_it_is(out: Path, tmp_path: Path) -> None:
    detector = import_detector(write_level_network(tmp_path / "a.onnx"), "level", LEVEL)
    for work in (detector.load_model, lambda: open_network(detector), lambda: Scorer(detector, backend="torch")):
        with pytest.raises(DetectorError, match=r"level was made elsewhere.*cannot be looked into"):
            work()


@pytest.mark.parametrize("name", ["", "a/b", "../up", ".hidden", "x" * 65])
def test_names_that_cannot_be(out: Path, tmp_path: Path, name: str) -> None:
    with pytest.raises(DetectorError, match="cannot be a detector's name"):
        import_detector(write_level_network(tmp_path / "a.onnx"), name, LEVEL)


def test_names_that_are_taken(out: Path, tmp_path: Path) -> None:
    path = write_level_network(tmp_path / "a.onnx")
    import_detector(path, "level", LEVEL)
    for name in ("level", "vgg27-spectrogram"):
        with pytest.raises(DetectorError, match=f"There is a detector '{name}' already"):
            import_detector(path, name, LEVEL)


# What is refused -------------------------------------------------------------------------------------------------


def refused(path: Path, declared: Declaration = LEVEL) -> str:
    with pytest.raises(DetectorError) as caught:
        import_detector(path, "level", declared)
    return str(caught.value)


def test_bad_files_are_refused_in_words(out: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    path = tmp_path / "a.onnx"
    assert "cannot be read: No such file" in refused(path)
    for content in (b"not a network", b"\x80\x04K\x01.", write_level_network(path).read_bytes()[:-40]):
        path.write_bytes(content)
        assert "is not an ONNX file" in refused(path)
    path.write_bytes(b"")
    assert "it has no nodes" in refused(path)
    write_level_network(path)
    with monkeypatch.context() as patch:
        patch.setattr(foreign, "MAX_BYTES", 100)
        with pytest.raises(DetectorError, match="an ONNX file that stands alone has at most 100"):
            ForeignSession(path)
    assert "keeps the tensor 'elsewhere' in '../secret.bin'" in refused(with_external_weights(path))
    assert "cannot be run by ONNX Runtime" in refused(write_level_network(path, opset=999))
    unknown = [helper.make_node("Secret", ["wave"], ["fed"], domain="their.own")]
    assert "cannot be run by ONNX Runtime" in refused(write_level_network(path, nodes=unknown))
    assert list(out.iterdir()) == []


@pytest.mark.parametrize(
    ("planted", "words"),
    [
        ("ctypes.string_at(0)", r"ended the process that tried it \(SIGSEGV\); it is damaged, or made to attack"),
        ("time.sleep(600)", "came to no end within 2 s on 2 segments"),
        ("bytearray(2**36)", r"ended the process that tried it \(exit status 1\)"),
    ],
)
def test_what_breaks_onnx_runtime_is_refused(
    out: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, planted: str, words: str
) -> None:
    code = f"import ctypes, time\nimport onnxruntime\nonnxruntime.InferenceSession.run = lambda *_: {planted}\n"
    (tmp_path / "sitecustomize.py").write_text(code)  # what every process started from here finds first
    monkeypatch.setenv("PYTHONPATH", str(tmp_path))
    monkeypatch.setattr("core.foreign.trial.LIMIT_S", 2.0 if "sleep" in planted else 60.0)
    with pytest.raises(DetectorError, match=words):
        import_detector(write_level_network(tmp_path / "a.onnx"), "level", LEVEL)
    assert list(out.iterdir()) == []


def test_a_file_exchanged_in_the_folder_is_still_checked(out: Path, tmp_path: Path) -> None:
    detector = import_detector(write_level_network(tmp_path / "a.onnx"), "level", LEVEL)
    with_external_weights(detector.graph_path)
    with pytest.raises(DetectorError, match="only files that hold all their weights"):
        Scorer(load_detector(detector.folder))


def test_inputs_and_outputs_that_do_not_fit(out: Path, tmp_path: Path) -> None:
    path = tmp_path / "a.onnx"
    second = helper.make_tensor_value_info("length", TensorProto.FLOAT, [1])
    words = refused(write_level_network(path, inputs=[second]))
    assert "has 2 inputs (wave [any, 8000], length [1]); expected one" in words
    words = refused(write_level_network(path, shape=(4, 8_000)))
    assert "takes exactly 4 segments at once (wave [4, 8000])" in words
    words = refused(write_level_network(path, shape=("batch", 64_600)))
    assert "takes wave [any, 64600], but samples of 8,000 samples at 16 kHz are [batch, 8000] or [batch, 1, 8000]" in words
    words = refused(write_level_network(path, shape=("batch", 1, 224, 224)))
    assert "takes wave [any, 1, 224, 224]" in words
    cast = [helper.make_node("Cast", ["wave"], ["fed"], to=TensorProto.FLOAT)]
    words = refused(_with_integer_input(write_level_network(path, nodes=cast)))
    assert "expected floating-point numbers" in words
    words = refused(write_level_network(path), Declaration(window_samples=8_000, column=2))
    assert "gives 2 value(s); value 2, counted from 0, is to be read" in words
    square = [helper.make_tensor_value_info("square", TensorProto.FLOAT, None)]
    nodes = [helper.make_node("Identity", ["wave"], ["fed"]), helper.make_node("Reshape", ["wave", "size"], ["square"])]
    size = helper.make_tensor("size", TensorProto.INT64, [3], [0, 80, 100])
    path = write_level_network(path, outputs=square, nodes=nodes, initializers=[size])
    words = refused(path, Declaration(window_samples=8_000, output_name="square"))
    assert "gives an output of shape [1, 80, 100]; expected one row of values" in words
    log = [helper.make_node("Log", ["wave"], ["fed"])]
    assert "for a tone; expected a finite number" in refused(write_level_network(path, nodes=log))
    abs_log = [helper.make_node("Abs", ["wave"], ["size"]), helper.make_node("ReduceMean", ["size"], ["mean"], axes=[1])]
    abs_log += [helper.make_node("Log", ["mean"], ["fed"])]
    assert "for silence; expected a finite number" in refused(write_level_network(path, nodes=abs_log))
    assert list(out.iterdir()) == []


def _with_integer_input(path: Path) -> Path:
    import onnx

    model = onnx.load(path)
    model.graph.input[0].type.tensor_type.elem_type = TensorProto.INT64
    path.write_bytes(model.SerializeToString())
    return path


@pytest.mark.parametrize(
    ("declared", "words"),
    [
        ({"input": "cqt"}, "unknown input 'cqt'; expected one of samples, log_spectrogram"),
        ({"input": "waveform", "window_samples": 8_000}, "drawn from 64,000 samples, not 8,000"),
        ({"window_samples": 100}, r"said to see 100 samples at once; expected 8,000 to 960,000"),
        ({"column": -1}, "expected two different numbers from 0"),
        ({"column": 1, "minus": 1}, "expected two different numbers from 0"),
        ({"higher_means": "fake"}, "expected 'spoof' or 'bona fide'"),
        ({"aggregate": "median"}, "unknown aggregate 'median'"),
    ],
)
def test_declarations_that_cannot_be(out: Path, tmp_path: Path, declared: dict, words: str) -> None:
    path = write_level_network(tmp_path / "a.onnx", shape=("batch", "time"))
    with pytest.raises(DetectorError, match=words):
        import_detector(path, "level", Declaration(**{"window_samples": 8_000} | declared))


# Everywhere that detectors are -----------------------------------------------------------------------------------


def test_the_command_imports_and_a_folder_is_scanned(
    out: Path, tmp_path: Path, store, write_recordings, capsys: pytest.CaptureFixture[str]
) -> None:
    path = write_level_network(tmp_path / "a.onnx")
    arguments = ["import-detector", str(path), "--name", "level", "--input", "samples", "--length", "8000", "--output", "1"]
    assert main([*arguments, "--minus", "0", "--higher-means", "spoof"]) == 0
    printed = capsys.readouterr().out
    assert "not calibrated" in printed
    assert "every verdict will be inconclusive" in printed
    assert main([*arguments, "--higher-means", "spoof"]) == 1
    assert "There is a detector 'level' already" in capsys.readouterr().err

    paths = write_recordings(tmp_path / "calls", 4)
    (tmp_path / "calls" / "broken.wav").write_bytes(b"no audio")
    detector = detector_named("level")
    audit = run_audit(store, prepare_audit(store, str(tmp_path / "calls"), detector, ScanSettings()))
    assert (audit.status, audit.num_done, audit.num_inconclusive, audit.num_refused) == (AuditStatus.FINISHED, 5, 4, 1)
    export_audit(store, audit.id, tmp_path / "out.jsonl")
    rows = {row["path"]: row for row in map(json.loads, (tmp_path / "out.jsonl").read_text().splitlines())}
    for wav in paths:
        (expected,) = Scorer(detector).score_file(wav).detections
        assert rows[wav.name]["spoof_score"] == pytest.approx(expected.spoof_score, abs=1e-6)
        assert rows[wav.name]["probability"] is None
    bins = score_histogram(store, audit.id, bin_width=None)
    assert sum(bar.num for bar in bins) == 4
    assert 1 <= len(bins) <= 42

    assert main(["score", str(paths[0]), "--detector", "level"]) == 0
    assert "(the detector is not calibrated)" in capsys.readouterr().out
    assert main(["detectors"]) == 0
    assert "onnx on samples" in capsys.readouterr().out


def test_the_command_tells_calibration_and_folder(out: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    path = write_level_network(tmp_path / "a.onnx")
    arguments = ["import-detector", str(path), "--name", "cal", "--input", "samples", "--length", "8000", "--output", "1"]
    arguments += ["--higher-means", "bona fide", "--calibration-offset", "2", "--out", str(tmp_path / "elsewhere")]
    assert main(arguments) == 1
    assert "--calibration-offset needs --calibration-scale" in capsys.readouterr().err
    assert main([*arguments, "--calibration-scale", "0.5"]) == 0
    assert f"--detector {tmp_path / 'elsewhere' / 'cal'}" in capsys.readouterr().out
    manifest = load_detector(tmp_path / "elsewhere" / "cal").manifest
    assert manifest.calibration == Calibration(slope=0.5, offset=2.0)
    assert manifest.thresholds == Thresholds(lower=0.0, upper=0.0)
    assert manifest.score_words == "Spoof score (nats)"


def test_it_is_calibrated_later_on_a_labelled_audit(
    out: Path, tmp_path: Path, store, store_url: str, speech_like, capsys: pytest.CaptureFixture[str]
) -> None:
    folder = tmp_path / "calls"
    folder.mkdir()
    lines = []
    for seed in range(24):  # spoofs are louder on the whole; every sixth recording is on the other side
        is_loud = (seed % 2 == 0) is not (seed % 6 == 1)
        soundfile.write(folder / f"u{seed}.wav", (0.9 if is_loud else 0.5) * speech_like(2.0, seed), 16_000)
        lines.append(f"sp u{seed} - {'A01 spoof' if seed % 2 == 0 else '- bonafide'}")
    (tmp_path / "protocol.txt").write_text("\n".join(lines) + "\n", encoding="utf-8")
    raw = import_detector(write_level_network(tmp_path / "a.onnx", shape=("batch", 32_000)), "raw", LEVEL_2S)
    settings = ScanSettings(protocol=str(tmp_path / "protocol.txt"))
    audit = run_audit(store, prepare_audit(store, str(folder), raw, settings))
    assert main(["calibrate-detector", str(audit.id), "--name", "nats", "--db", store_url]) == 0
    assert "fitted to 12" in capsys.readouterr().out
    nats = detector_named("nats")
    paths = sorted(folder.iterdir())
    before, after = (
        np.array([record.detections[0].spoof_score for record in Scorer(detector).score_files(paths)]) for detector in (raw, nats)
    )
    is_spoof = np.array([int(path.stem[1:]) % 2 == 0 for path in paths])
    expected = fit_calibration(before, is_spoof)
    np.testing.assert_allclose(after, expected.slope * before + expected.offset, rtol=1e-3, atol=1e-3)
    assert nats.manifest.thresholds.lower <= nats.manifest.thresholds.upper
    assert "fitted to 12 bona fide and 12 spoofed recordings" in nats.card
    assert nats.hash != raw.hash
    assert Scorer(nats).score_file(folder / "u0.wav").detections[0].probability is not None

    assert main(["calibrate-detector", str(audit.id), "--name", "other", "--reviews", "--db", store_url]) == 1
    assert "has a label" in capsys.readouterr().err


def test_the_report_of_a_recording_says_that_nothing_is_calibrated(out: Path, tmp_path: Path, recording: Path) -> None:
    detector = import_detector(write_level_network(tmp_path / "a.onnx"), "level", LEVEL)
    record = Scorer(detector).score_file(recording)
    report = json.loads(recording_json("speech", record.sha256, record.info, record.detections, detector))
    assert (report["detector"]["is_calibrated"], report["detector"]["thresholds"], report["prior_spoof"]) == (False, None, None)


def test_a_session_is_shared_by_threads(out: Path, tmp_path: Path) -> None:
    from concurrent.futures import ThreadPoolExecutor

    detector = import_detector(write_level_network(tmp_path / "a.onnx", shape=(1, 8_000)), "level", LEVEL)
    scorer = Scorer(detector)
    batches = [torch.full((3, 8_000), level / 40) for level in range(40)]
    with ThreadPoolExecutor(4) as pool:
        found = list(pool.map(lambda batch: scorer.score_windows(batch)[0].item(), batches))
    assert found == pytest.approx([100 * level / 40 - 3 for level in range(40)], abs=1e-3)
    assert np.isfinite(ForeignSession(detector.graph_path).scores(detector.manifest.network, batches[0].numpy())).all()
