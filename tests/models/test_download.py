"""`ttsnap download` against a local server that lists files as the hub does, and drops connections."""

import hashlib
import http.server
import json
import shutil
import tarfile
import threading
from pathlib import Path

import pytest

from ttsnap.cli import main
from ttsnap.models import assets, fetch, resolve
from ttsnap.settings.datasets import LABELLED
from ttsnap.sft.data import load_images

BIG = bytes(range(256)) * 4000  # a megabyte
FILES = {
    "black-forest-labs/FLUX.1-dev": {
        "model_index.json": b'{"_class_name": "FluxPipeline"}',
        "transformer/part.safetensors": BIG,
        "transformer/part.fp16.safetensors": b"a copy",
        "flux1-dev.safetensors": b"the single file",
    },
    "xswu/HPSv2": {"HPS_v2_compressed.pt": BIG[::-1], "HPS_v2.1_compressed.pt": BIG},
}


def git_sha1(body):
    return hashlib.sha1(f"blob {len(body)}\0".encode() + body).hexdigest()


class Hub(http.server.BaseHTTPRequestHandler):
    """Lists and serves FILES; sends at most `piece` bytes of a file before it drops the connection."""

    piece, asked, token, lie = 300_000, [], None, b""

    def do_GET(self):
        path = self.path.partition("?")[0].lstrip("/")
        repo = next((r for r in FILES if r in path), None)
        if repo is None:
            return self.send_error(404)
        if type(self).token and self.headers.get("Authorization") != f"Bearer {type(self).token}":
            return self.send_error(401)
        if path.startswith("api/"):
            entries = [self.entry(name, body) for name, body in FILES[repo].items()]
            entries.append({"type": "directory", "path": "transformer", "size": 0, "oid": "0"})
            return self.answer(200, json.dumps(entries).encode())
        body = FILES[repo][path.partition("/resolve/main/")[2]]
        body = (type(self).lie + body)[: len(body)]
        start = int(self.headers.get("Range", "bytes=0-")[6:].split("-")[0])
        type(self).asked.append((path, start))
        self.answer(206 if start else 200, body[start:], self.piece)

    def entry(self, name, body):
        entry = {"type": "file", "path": name, "size": len(body), "oid": git_sha1(body)}
        if len(body) > 1000:
            entry |= {"oid": "a pointer's", "lfs": {"oid": hashlib.sha256(body).hexdigest(), "size": len(body)}}
        return entry

    def answer(self, status, body, most=None):
        self.send_response(status)
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        self.wfile.write(body[:most])
        self.close_connection = True

    def log_message(self, *args):
        pass


@pytest.fixture
def hub(monkeypatch, tmp_path):
    """The Hub subclass of a running server."""
    handler = type("OneHub", (Hub,), {"asked": []})
    server = http.server.ThreadingHTTPServer(("127.0.0.1", 0), handler)
    threading.Thread(target=server.serve_forever, daemon=True).start()
    monkeypatch.setenv("HF_ENDPOINT", f"http://127.0.0.1:{server.server_port}")
    monkeypatch.delenv("HF_TOKEN", raising=False)
    monkeypatch.chdir(tmp_path)
    yield handler
    server.shutdown()


def test_dropped_connections_are_resumed(hub, tmp_path, capsys):
    assert main(["download", "--only", "FLUX.1-dev", "--json", "o.json"]) == 0
    folder = tmp_path / "models/FLUX.1-dev"
    assert (folder / "transformer/part.safetensors").read_bytes() == BIG
    found = {str(p.relative_to(folder)) for p in folder.rglob("*") if p.is_file()}
    assert found == {"model_index.json", "transformer/part.safetensors"}, "copies are left out"
    starts = [start for path, start in hub.asked if path.endswith("part.safetensors")]
    assert starts == [0, 300_000, 600_000, 900_000]
    assert json.loads((tmp_path / "o.json").read_text())["FLUX.1-dev"]["fetched"]
    assert resolve("black-forest-labs/FLUX.1-dev") == "models/FLUX.1-dev"
    hub.asked.clear()
    assert main(["download", "--only", "FLUX.1-dev"]) == 0
    assert hub.asked == [] and "0 of them fetched now" in capsys.readouterr().out


def test_a_killed_run_resumes(hub, tmp_path):
    part = tmp_path / "models/HPSv2/HPS_v2.1_compressed.pt.part"
    part.parent.mkdir(parents=True)
    part.write_bytes(BIG[:500_000])
    assert main(["download", "--only", "HPSv2"]) == 0
    assert hub.asked[0] == ("xswu/HPSv2/resolve/main/HPS_v2.1_compressed.pt", 500_000)
    assert [p.name for p in part.parent.iterdir()] == ["HPS_v2.1_compressed.pt"]
    assert main(["download", "--only", "HPSv2", "--hps-version", "v2.0"]) == 0
    assert (part.parent / "HPS_v2_compressed.pt").read_bytes() == BIG[::-1]


def test_a_wrong_or_damaged_file_is_fetched_again_or_refused(hub, tmp_path, capsys):
    file = tmp_path / "models/HPSv2/HPS_v2.1_compressed.pt"
    file.parent.mkdir(parents=True)
    file.write_bytes(b"x" + BIG[1:])  # of the right size
    assert main(["download", "--only", "HPSv2"]) == 0
    assert file.read_bytes() == BIG
    aside = file.with_name(f"{file.name}.replaced")
    assert aside.read_bytes() == b"x" + BIG[1:], "whoever it belonged to still has it"
    aside.unlink()
    file.unlink()
    hub.lie = b"<html>Sign in</html>"
    assert main(["download", "--only", "HPSv2"]) == 1
    error = capsys.readouterr().err
    assert "not the published file" in error and error.count("\n") - error.count("\r") <= 1
    assert list(file.parent.iterdir()) == []


def test_a_host_that_sends_nothing_is_given_up(hub, tmp_path, capsys, monkeypatch):
    hub.piece = 0
    monkeypatch.setattr(fetch.time, "sleep", lambda seconds: None)
    assert main(["download", "--only", "HPSv2"]) == 1
    assert f"broke off at 0 of {len(BIG)} bytes" in capsys.readouterr().err


def test_licences_need_a_token(hub, capsys, monkeypatch):
    hub.token = "secret"
    assert main(["download", "--only", "FLUX.1-dev"]) == 2
    assert "set HF_TOKEN" in capsys.readouterr().err
    monkeypatch.setenv("HF_TOKEN", "secret")
    assert main(["download", "--only", "FLUX.1-dev"]) == 0


def test_offline_says_what_is_missing_and_where(monkeypatch, tmp_path, capsys):
    monkeypatch.setenv("HF_ENDPOINT", "http://127.0.0.1:1")
    monkeypatch.chdir(tmp_path)
    assert main(["download", "--only", "PickScore_v1"]) == 1
    error = capsys.readouterr().err
    assert error.count("\n") == 1
    assert "PickScore_v1: nothing in models/PickScore_v1; yuvalkirstain/PickScore_v1: 127.0.0.1:1" in error
    assert main(["download", "--only", "GPT-5"]) == 2
    assert "--only: 'GPT-5' is not one of FLUX.1-dev" in capsys.readouterr().err


def test_data_sets_are_the_published_bytes_or_nothing(tmp_path, monkeypatch, capsys):
    """Fetched from any address, unpacked inside the folder, kept on a rerun."""
    source, out = tmp_path / "source", tmp_path / "data/cifar10"
    source.mkdir()
    (tmp_path / "test_batch.bin").write_bytes(bytes(3073))
    with tarfile.open(source / "a.tar.gz", "w:gz") as tar:
        tar.add(tmp_path / "test_batch.bin", "cifar-10-batches-bin/test_batch.bin")
        tar.add(tmp_path / "test_batch.bin", "../../../escape.bin")
    body = (source / "a.tar.gz").read_bytes()
    published = assets.DataFiles("http://127.0.0.1:1/", {"a.tar.gz": (len(body), hashlib.md5(body).hexdigest())})
    monkeypatch.setitem(assets.DATA_SETS, "cifar10", published)
    monkeypatch.setattr(fetch.time, "sleep", lambda seconds: None)
    monkeypatch.chdir(tmp_path)
    words = ["download", "--only", "cifar10", "--from", f"{source.as_uri()}/"]
    assert main([*words, "--json", "o.json"]) == 0
    assert json.loads(Path("o.json").read_text())["cifar10"]["fetched"] == ["a.tar.gz"]
    assert {p.name for p in out.iterdir()} == {"a.tar.gz", "escape.bin", "test_batch.bin"}
    assert len(load_images("cifar10", split="test").images) == 1
    shutil.rmtree(source)
    assert main(words) == 0 and "0 of them fetched now" in capsys.readouterr().out
    assert main([*words, "--out", "new"]) == 1 and "broke off at 0" in capsys.readouterr().err
    source.mkdir()
    (source / "a.tar.gz").write_bytes(bytes(len(body)))
    assert main([*words, "--out", "new"]) == 1
    assert "not the published file" in capsys.readouterr().err
    assert not any(p.is_file() for p in Path("new").rglob("*"))
    assert main(["download", "--from", "http://x/"]) == 2
    assert "--from: goes with --only" in capsys.readouterr().err


def test_every_model_and_reward_named_has_an_asset():
    assert set(assets.ASSETS) >= {
        "FLUX.1-dev", "sdxl-base", "RealVisXL_V4.0", "sdxl-turbo", "Hyper-SD15-1step", "PickScore_v1",
        "CLIP-ViT-L-14", "Aesthetic", "ImageReward", "HPSv2",
    }  # fmt: skip
    pipeline = assets.ASSETS["FLUX.1-dev"][0]
    assert pipeline.wants("transformer/diffusion_pytorch_model-00001-of-00003.safetensors")
    assert not pipeline.wants("unet/diffusion_pytorch_model.fp16.safetensors")
    assert assets.DATA_SETS.keys() == LABELLED.keys() - {"digits"}
    assert assets.how_to_get("models/ImageReward").startswith("`ttsnap download --only ImageReward`")
    assert assets.how_to_get("black-forest-labs/FLUX.1-dev") and not assets.how_to_get("my/model")
