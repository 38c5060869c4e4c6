"""core.shortcuts: a planted leak is found, a clean set passes, and a detector that hears a trivial feature is caught."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
import soundfile
import torch

from core.commands.program import main
from core.errors import CoreError
from core.metrics import equal_error_rate
from core.shortcuts.features import FEATURES, measure_recording, measure_samples, tilt_db
from core.shortcuts.interventions import INTERVENTIONS, at_other_rate, audit_detector, give_edges_of, tilt
from core.shortcuts.probes import MIN_EACH, audit_measures, out_of_fold_scores
from core.shortcuts.records import ShortcutAudit
from core.shortcuts.report_files import find_audits, load_audit, own_shortcut_folder, save_audit
from core.stress.changes import sound_span

RATE_HZ = 16_000
NUM = 120


def drawn_measures(seed: int, num: int = NUM) -> tuple[pd.DataFrame, pd.DataFrame]:
    """Features that tell nothing of the label, and labels: every second recording is a spoof; 3 recordings per speaker."""
    rng = np.random.default_rng(seed)
    measured = pd.DataFrame(
        {
            "duration_s": rng.uniform(1, 5, num),
            "leading_s": rng.choice([0.0, 0.02, 0.1], num),
            "leading_share": rng.uniform(0, 0.1, num),
            "leading_db": rng.normal(-70, 5, num),
            "trailing_s": rng.uniform(0, 0.3, num),
            "trailing_share": rng.uniform(0, 0.1, num),
            "trailing_db": rng.normal(-70, 5, num),
            "rms_db": rng.normal(-25, 3, num),
            "peak_db": rng.normal(-6, 2, num),
            "quiet_db": rng.normal(-60, 5, num),
            "loud_db": rng.normal(-15, 2, num),
            "edge_50_hz": rng.normal(500, 80, num),
            "edge_90_hz": rng.normal(2_000, 200, num),
            "edge_99_hz": rng.normal(5_000, 300, num),
            "edge_999_hz": rng.normal(7_000, 300, num),
            "above_7k_db": rng.normal(-40, 4, num),
            "tilt_db": rng.normal(-8, 1, num),
            "dc_db": rng.normal(-90, 8, num),
            "dc_sign": rng.choice([-1.0, 1.0], num),
            "zero_share": np.where(rng.uniform(size=num) < 0.8, 0.0, rng.uniform(0, 0.01, num)),
            "container": "WAV",
            "codec": rng.choice(["PCM_16", "PCM_24"], num),
            "channels": "1 channel",
            "rate": rng.choice(["16,000 Hz", "44,100 Hz"], num),
        }
    )
    recordings = pd.DataFrame(
        {"label": ["spoof" if i % 2 else "bona fide" for i in range(num)], "speaker": [f"s{i // 3}" for i in range(num)]}
    )
    return measured, recordings


def test_measures_by_hand() -> None:
    edge = torch.zeros(1_600)
    tone = 0.5 * torch.sin(2 * torch.pi * 1_000 * torch.arange(RATE_HZ) / RATE_HZ)
    measures = measure_samples(torch.cat([edge, tone + 0.01, edge, edge]))
    assert measures["leading_s"] == pytest.approx(0.1)
    assert measures["trailing_s"] == pytest.approx(0.2)
    assert measures["leading_db"] == -120.0
    assert measures["dc_db"] == pytest.approx(20 * np.log10(0.01 * 16_000 / 20_800), abs=0.01)
    assert measures["dc_sign"] == 1.0
    assert measures["zero_share"] == pytest.approx(4_800 / 20_800, abs=1e-3)
    assert all(np.isfinite(value) for value in measure_samples(torch.zeros(10)).values())
    assert set(measures) | {"duration_s", "container", "codec", "channels", "rate"} == {
        column for feature in FEATURES.values() for column in feature.columns
    }


def test_tilt_is_the_slope_of_the_spectrum() -> None:
    white = np.random.default_rng(0).standard_normal(4 * RATE_HZ).astype(np.float32) * 0.1
    assert tilt_db(torch.from_numpy(white)) == pytest.approx(0.0, abs=0.3)
    # An independent filter: what `tilt` turns by 3 dB per octave is measured as that.
    for turned_by in (-3.0, 3.0):
        turned = torch.from_numpy(tilt(white, db_per_octave=turned_by).astype(np.float32))
        assert tilt_db(turned) == pytest.approx(turned_by, abs=0.3)
        assert float(turned.square().mean()) == pytest.approx(float(np.square(white).mean()), rel=1e-3)


def test_a_file_tells_its_format(tmp_path: Path, speech_like) -> None:
    soundfile.write(tmp_path / "a.flac", np.stack([speech_like(1.0)] * 2, axis=1), 8_000, format="FLAC")
    measures = measure_recording(tmp_path / "a.flac")
    assert (measures["container"], measures["channels"], measures["rate"]) == ("FLAC", "2 channels", "8,000 Hz")
    assert measures["duration_s"] == 2.0


@pytest.mark.parametrize("seed", range(8))
def test_a_clean_set_passes(seed: int) -> None:
    report = audit_measures(*drawn_measures(seed), set_name="Set", num_resamples=400, seed=seed)
    assert report.is_clean, report.words
    assert report.words == "Set passes: none of 10 trivial features tells spoofs from bona fide speech reliably."
    assert (report.grouped_by, report.num_groups) == ("speaker", 40)
    assert all(0.3 < probe.eer < 0.7 for probe in report.probes)


@pytest.mark.parametrize(
    ("name", "plant"),
    [
        ("duration", lambda table, spoof: table.assign(duration_s=np.where(spoof, 2.0, 3.0) + table["duration_s"] / 10)),
        ("leading_silence", lambda table, spoof: table.assign(leading_s=np.where(spoof, 0.0, table["leading_s"] + 0.05))),
        ("loudness", lambda table, spoof: table.assign(rms_db=table["rms_db"] + 9 * spoof)),
        # Not monotone: spoofs lie in the middle.
        (
            "bandwidth",
            lambda table, spoof: table.assign(edge_999_hz=7_000 + 500 * np.sign(table["tilt_db"] + 8) * ~spoof),
        ),
        ("spectral_tilt", lambda table, spoof: table.assign(tilt_db=table["tilt_db"] + 3 * spoof)),
        ("dc_offset", lambda table, spoof: table.assign(dc_sign=np.where(spoof, 1.0, -1.0))),
        ("digital_silence", lambda table, spoof: table.assign(zero_share=np.where(spoof, 0.01 + table["zero_share"], 0.0))),
        ("codec", lambda table, spoof: table.assign(codec=np.where(spoof, "PCM_16", "VORBIS"))),
        ("sample_rate", lambda table, spoof: table.assign(rate=np.where(spoof, "22,050 Hz", "16,000 Hz"))),
    ],
)
def test_a_planted_leak_is_found_and_named(name: str, plant) -> None:
    measured, recordings = drawn_measures(3)
    planted = plant(measured, (recordings["label"] == "spoof").to_numpy())
    report = audit_measures(planted, recordings, set_name="Set", num_resamples=400)
    assert not report.is_clean
    assert [probe.name for probe in report.probes if probe.is_leak] == [name]
    worst = report.probes[0]
    assert worst.eer < 0.25
    assert worst.high < 0.4
    assert f"{worst.title} alone separates the classes" in worst.finding
    assert worst.title.lower() in report.words
    assert "1 of 10 trivial features gives" in report.words


def test_what_is_the_same_everywhere_gives_nothing_away() -> None:
    measured, recordings = drawn_measures(0)
    report = audit_measures(measured.assign(rate="16,000 Hz"), recordings, num_resamples=100)
    probe = next(probe for probe in report.probes if probe.name == "sample_rate")
    assert (probe.eer, probe.is_leak) == (0.5, False)
    assert probe.finding == "Stored sample rate is the same in all recordings (16,000 Hz): it can give nothing away."


def test_speakers_are_not_learnt_by_heart() -> None:
    """Loudness tells the speaker, and speakers are of one class each: with few of them that is no leak of the label."""
    rng = np.random.default_rng(0)
    speaker = np.repeat(np.arange(24), 10)
    is_spoof = speaker % 2 == 1
    columns = pd.DataFrame({"rms_db": rng.normal(-25, 4, 24)[speaker] + rng.normal(0, 0.01, 240)})
    alone = out_of_fold_scores(columns, is_spoof, np.arange(240), seed=0)
    apart = out_of_fold_scores(columns, is_spoof, speaker, seed=0)
    assert equal_error_rate(alone, is_spoof)[0] < 0.4
    assert equal_error_rate(apart, is_spoof)[0] > 0.4
    recordings = pd.DataFrame({"label": np.where(is_spoof, "spoof", "bona fide"), "speaker": [f"s{i}" for i in speaker]})
    assert audit_measures(columns.assign(peak_db=0.0, quiet_db=0.0, loud_db=0.0), recordings, num_resamples=400).is_clean


def test_few_recordings_are_refused() -> None:
    measured, recordings = drawn_measures(0, 2 * MIN_EACH - 2)
    with pytest.raises(CoreError, match="19 bona fide and 19 spoofed readable recordings; 20 of each"):
        audit_measures(measured, recordings)


def _write_set(folder: Path, speech_like, *, leak: bool) -> Path:
    """48 recordings; with a leak, spoofs lack the silence that bona fide ones begin with."""
    folder.mkdir(parents=True)
    lines, rng = [], np.random.default_rng(0)
    for i in range(48):
        spoof = i % 2 == 1
        silence = np.zeros(0 if leak and spoof else int(rng.uniform(0.1, 0.3) * RATE_HZ), np.float32)
        soundfile.write(folder / f"u{i}.wav", np.concatenate([silence, speech_like(1.0, i)]), RATE_HZ)
        lines.append(f"s{i // 2} u{i} - {'A' if spoof else '-'} {'spoof' if spoof else 'bonafide'}")
    protocol = folder.with_suffix(".txt")
    protocol.write_text("\n".join(lines) + "\n")
    return protocol


@pytest.mark.parametrize("leak", [True, False])
def test_the_command_finds_the_leak_in_real_files(
    tmp_path: Path, speech_like, leak: bool, capsys: pytest.CaptureFixture, monkeypatch: pytest.MonkeyPatch
) -> None:
    protocol = _write_set(tmp_path / "set", speech_like, leak=leak)
    (tmp_path / "set" / "broken.wav").write_bytes(b"no")
    with open(protocol, "a") as file:
        file.write("s0 broken - - bonafide\n")
    monkeypatch.setenv("EARWITNESS_RESULTS", str(tmp_path / "own"))
    out = own_shortcut_folder() / "mine.json"
    assert main(["shortcuts", str(tmp_path / "set"), "--protocol", str(protocol), "--out", str(out)]) == 0
    text = capsys.readouterr().out
    audit = load_audit(out)
    assert ("LEAK" in text) is leak is not audit.report.is_clean
    assert "Could not be read: 1, e.g." in text
    if leak:
        assert audit.report.probes[0].name in ("leading_silence", "digital_silence", "duration")
        assert "leading_silence" in [probe.name for probe in audit.report.probes if probe.is_leak]
    assert out in [path for path, _ in find_audits().found]
    assert list(pd.read_csv(out.with_suffix(".csv"))["name"]) == [probe.name for probe in audit.report.probes]
    out.write_text("{}")
    assert "is no shortcut audit" in find_audits().problems[0]


class _Listener:
    """A scorer whose score is the DC offset of the windows, in hundredths, and nothing else."""

    def __init__(self, detector) -> None:
        self.detector = detector

    def score_windows(self, windows: torch.Tensor) -> torch.Tensor:
        return 100 * windows.mean(dim=-1)


def test_a_detector_that_hears_dc_is_caught(tiny_detector, tmp_path: Path, speech_like) -> None:
    paths = [tmp_path / f"{i}.wav" for i in range(12)]
    for i, path in enumerate(paths):
        soundfile.write(path, speech_like(2.0, i) + 0.005 * (i % 5), RATE_HZ, subtype="FLOAT")
    recordings = pd.DataFrame({"path": [str(path) for path in paths], "label": ["spoof", "bona fide"] * 6})
    effects = audit_detector(tiny_detector, recordings, scorer=_Listener(tiny_detector), num_resamples=200)
    assert {effect.label for effect in effects} == {"all", "bona fide", "spoof"}
    of_all = {effect.name: effect for effect in effects if effect.label == "all"}
    assert set(of_all) == set(INTERVENTIONS)
    dc = of_all["dc"]
    assert dc.shift == pytest.approx(2.0, abs=0.01)
    assert dc.is_sensitive
    assert "towards spoof: +2.00 nats" in dc.finding
    assert dc.num == 12
    # Quieter by 10 dB: the offset shrinks to 0.32 of what it was.
    mean = np.mean([100 * 0.005 * (i % 5) for i in range(12)])
    assert of_all["quieter"].shift == pytest.approx(-(1 - 10**-0.5) * mean, abs=0.05)
    for name in ("resampled", "trim_edges"):
        assert not of_all[name].is_sensitive, name
        assert "hardly moves all scores" in of_all[name].finding
    without = audit_detector(
        tiny_detector, recordings[["path"]], scorer=_Listener(tiny_detector), num_resamples=100, max_recordings=6
    )
    assert {effect.label for effect in without} == {"all"}
    assert {effect.num for effect in without} == {6}
    with pytest.raises(CoreError, match="0 of 1 recordings can be judged"):
        audit_detector(tiny_detector, pd.DataFrame({"path": [str(tmp_path / "none.wav")]}))


def test_interventions_change_what_they_say_and_no_more(speech_like) -> None:
    samples = np.concatenate([np.full(1_600, 1e-4), speech_like(1.0), np.full(800, 2e-4)]).astype(np.float32)
    other = np.concatenate([np.full(320, 3e-4), speech_like(1.0, 1), np.full(640, 4e-4)]).astype(np.float32)
    first, last = sound_span(samples)
    changed = give_edges_of(samples, np.random.default_rng(0), other)
    other_first, other_last = sound_span(other)
    assert (changed[other_first : other_first + last - first] == samples[first:last]).all()
    assert (changed[:other_first] == other[:other_first]).all()
    assert len(changed) == other_first + (last - first) + len(other) - other_last
    assert np.abs(at_other_rate(samples) - samples)[200:-200].max() < 0.02
    for intervention in INTERVENTIONS.values():
        assert intervention.feature in FEATURES
        assert np.isfinite(intervention.change(samples, np.random.default_rng(0), other)).all()


def test_shipped_audits_are_whole() -> None:
    audits = [audit for path, audit in find_audits().found if "data/results/shortcuts" in path.as_posix()]
    assert any(audit.report.set_name == "Earwitness corpus, test" and audit.effects for audit in audits)
    for audit in audits:
        assert {probe.name for probe in audit.report.probes} == set(FEATURES)
        assert audit.report.is_clean == (not any(probe.is_leak for probe in audit.report.probes))


def test_files_say_what_is_wrong(tmp_path: Path) -> None:
    measured, recordings = drawn_measures(0)
    report = audit_measures(measured, recordings, num_resamples=100)
    audit = ShortcutAudit(report=report, detector_name=None, detector_hash=None, effects=(), created="2026-11-25T00:00:00+00:00")
    with pytest.raises(CoreError, match="must end with"):
        save_audit(audit, tmp_path / "a.csv")
    path = save_audit(audit, tmp_path / "a.json")[0]
    assert load_audit(path) == audit
    path.write_text(json.dumps(json.loads(path.read_text()) | {"schema_version": 2}))
    with pytest.raises(CoreError, match="schema version 2"):
        load_audit(path)
