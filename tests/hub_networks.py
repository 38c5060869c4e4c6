"""Tiny classifiers as the hub holds them, with random weights, and a hub of a few lines on loopback."""

from __future__ import annotations

import hashlib
import json
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path

import torch
import transformers

COMMIT = "0123456789abcdef0123456789abcdef01234567"
CARD = "---\nlicense: apache-2.0\ntags:\n- audio-classification\n---\n# A tiny detector\n\nTrained on nothing.\n"
_SIZES = {"hidden_size": 16, "num_hidden_layers": 2, "num_attention_heads": 2, "intermediate_size": 32, "initializer_range": 0.4}
_CONVOLUTIONS = {"conv_dim": (8,) * 7, "num_conv_pos_embeddings": 16, "num_conv_pos_embedding_groups": 4, "classifier_proj_size": 8}
_WHISPER = {"d_model": 16, "encoder_layers": 2, "encoder_attention_heads": 2, "encoder_ffn_dim": 32, "classifier_proj_size": 8}
_WHISPER |= {"decoder_layers": 1, "decoder_attention_heads": 2, "decoder_ffn_dim": 32, "vocab_size": 64, "init_std": 0.4}
_WHISPER |= {"pad_token_id": 0, "bos_token_id": 1, "eos_token_id": 2, "decoder_start_token_id": 3}
_BERT = {"feature_projection_input_dim": 160, "classifier_proj_size": 8, "conv_depthwise_kernel_size": 7}
_LAYER_NORM = {"feat_extract_norm": "layer", "do_stable_layer_norm": True, "use_weighted_layer_sum": True}
_KINDS = {
    "wav2vec2": ("Wav2Vec2", "ForSequenceClassification", _SIZES | _CONVOLUTIONS),
    "wav2vec2, as XLS-R": ("Wav2Vec2", "ForSequenceClassification", _SIZES | _CONVOLUTIONS | _LAYER_NORM),
    "wavlm": ("WavLM", "ForSequenceClassification", _SIZES | _CONVOLUTIONS),
    "hubert": ("Hubert", "ForSequenceClassification", _SIZES | _CONVOLUTIONS),
    "unispeech-sat": ("UniSpeechSat", "ForSequenceClassification", _SIZES | _CONVOLUTIONS),
    "whisper": ("Whisper", "ForAudioClassification", _WHISPER),
    "ast": ("AST", "ForAudioClassification", _SIZES),
    "wav2vec2-bert": ("Wav2Vec2Bert", "ForSequenceClassification", _SIZES | _BERT),
}
KINDS = tuple(_KINDS)


def extractor_of(kind: str) -> object:
    """What prepares the input of a network of that kind."""
    if kind == "whisper":
        return transformers.WhisperFeatureExtractor()
    if kind == "ast":
        return transformers.ASTFeatureExtractor()
    if kind == "wav2vec2-bert":
        return transformers.SeamlessM4TFeatureExtractor(feature_size=80, num_mel_bins=80)
    return transformers.Wav2Vec2FeatureExtractor(do_normalize=kind != "hubert", return_attention_mask="XLS-R" in kind)


def save_classifier(
    folder: Path, kind: str = "wav2vec2", *, labels: tuple[str, ...] = ("fake", "real"), shard: str = "1GB"
) -> Path:
    """Writes a network of random weights and its extractor as `save_pretrained` does, with a card."""
    prefix, suffix, options = _KINDS[kind]
    torch.manual_seed(1)
    config = getattr(transformers, f"{prefix}Config")(**options, id2label=dict(enumerate(labels)))
    network = getattr(transformers, f"{prefix}{suffix}")(config)
    network.save_pretrained(folder, max_shard_size=shard)
    extractor_of(kind).save_pretrained(folder)
    (folder / "README.md").write_text(CARD, encoding="utf-8")
    return folder


class LoopbackHub:
    """Serves one folder as the repository `lab/tiny`. Its attributes break what it serves."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.cut_at: int | None = None
        """Answers about weights end after so many bytes of the file ..."""
        self.num_cuts = 0
        """... so many times."""
        self.is_damaged = False
        """The weights' last byte is another one."""
        self.refusal: tuple[int, str] | None = None
        """Status and X-Error-Code of every answer."""
        self.asked: list[str] = []
        """Every request: method, path and range."""

    def file(self, name: str) -> bytes:
        content = (self.folder / name).read_bytes()
        return content[:-1] + bytes([content[-1] ^ 1]) if self.is_damaged and name.endswith(".safetensors") else content

    def description(self) -> dict:
        """What the API says of the repository."""
        siblings = []
        for path in sorted(path for path in self.folder.rglob("*") if path.is_file()):
            content = path.read_bytes()
            entry = {"rfilename": path.relative_to(self.folder).as_posix(), "size": len(content), "blobId": "0" * 40}
            if path.suffix == ".safetensors":
                entry["lfs"] = {"sha256": hashlib.sha256(content).hexdigest(), "size": len(content), "pointerSize": 1}
            siblings.append(entry)
        return {"id": "lab/tiny", "modelId": "lab/tiny", "sha": COMMIT, "private": False, "tags": [], "siblings": siblings}


@contextmanager
def serving(folder: Path) -> Iterator[tuple[LoopbackHub, str]]:
    """The hub while it runs, and its address."""
    hub = LoopbackHub(folder)

    class Handler(BaseHTTPRequestHandler):
        protocol_version = "HTTP/1.1"

        def do_GET(self) -> None:
            hub.asked.append(f"{self.command} {self.path} {self.headers.get('Range', '')}".strip())
            if hub.refusal:
                return self.answer(hub.refusal[0], b"no", {"X-Error-Code": hub.refusal[1]})
            path = self.path.partition("?")[0]
            if path in ("/api/models/lab/tiny", f"/api/models/lab/tiny/revision/{COMMIT}"):
                return self.answer(200, json.dumps(hub.description()).encode(), {})
            name = path.removeprefix(f"/lab/tiny/resolve/{COMMIT}/")
            if name == path or not (hub.folder / name).is_file():
                is_revision = path.startswith("/api/models/lab/tiny/revision/")
                return self.answer(404, b"", {"X-Error-Code": "RevisionNotFound" if is_revision else "RepoNotFound"})
            return self.give(name)

        do_HEAD = do_GET

        def give(self, name: str) -> None:
            content = hub.file(name)
            start = int(self.headers.get("Range", "bytes=0-").removeprefix("bytes=").partition("-")[0])
            is_cut = self.command == "GET" and name.endswith(".safetensors") and hub.cut_at is not None and hub.num_cuts > 0
            headers = {"ETag": f'"{hashlib.sha256(content).hexdigest()}"', "X-Repo-Commit": COMMIT, "Accept-Ranges": "bytes"}
            if start:
                headers["Content-Range"] = f"bytes {start}-{len(content) - 1}/{len(content)}"
            hub.num_cuts -= is_cut
            self.answer(206 if start else 200, content[start:], headers, end=max(0, hub.cut_at - start) if is_cut else None)

        def answer(self, status: int, body: bytes, headers: dict[str, str], *, end: int | None = None) -> None:
            self.send_response(status)
            for name, value in {**headers, "Content-Length": str(len(body))}.items():
                self.send_header(name, value)
            self.end_headers()
            if self.command == "GET":
                self.wfile.write(body[:end])
            self.close_connection = end is not None

        def log_message(self, *_: object) -> None:
            pass

    server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.05}, daemon=True)
    thread.start()
    try:
        yield hub, f"http://127.0.0.1:{server.server_port}"
    finally:
        server.shutdown()
        server.server_close()
