"""Search in a folder: the same shape in another pose first, and an index that is kept up."""

import logging
import os
import shutil
import signal
import sqlite3
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
from helpers.tiny_encoder import train_encoder, use_encoder, write_shapes, write_turned

import pcinv
from pcinv.engine import search as module
from pcinv.engine import search_index
from pcinv.engine.embed import Embedder
from pcinv.engine.nearest import has_library
from pcinv.engine.search import search
from pcinv.engine.search_index import SearchIndex, shapes_of
from pcinv.errors import CheckpointError, FileFormatError, InputError, UsageError

TESTS = Path(__file__).parents[1]


@pytest.fixture(scope="module")
def run(tmp_path_factory):
    return train_encoder(tmp_path_factory.mktemp("run") / "run")


@pytest.fixture(autouse=True)
def encoder(monkeypatch):
    use_encoder(monkeypatch)


@pytest.fixture
def folder(tmp_path):
    write_shapes(tmp_path / "shapes", 12)
    return tmp_path / "shapes"


def files_of(found):
    return [match.file for match in found.matches]


class TestMatches:
    def test_a_turned_copy_finds_its_shape_first(self, run, folder, tmp_path):
        for k in range(12):
            original = folder / ("sub" if k % 2 else "") / f"a{k}.ply"
            query = write_turned(original, tmp_path / f"q{k}.ply", k)
            found = pcinv.search(query, folder, run, device="cpu", top=3)
            assert files_of(found)[0] == str(original)
            assert found.matches[0].similarity > 0.9999 > found.matches[1].similarity
            assert [match.rank for match in found.matches] == [1, 2, 3]
        assert found.method == "exact" and found.dim == 16 and found.num_indexed == 12

    def test_they_are_those_of_the_vectors(self, run, folder):
        names = sorted(shapes_of(folder)[0])
        vectors = pcinv.embed(run, [folder / name for name in names], device="cpu").vectors
        query = np.random.default_rng(5).normal(size=(50, 3))
        asked = pcinv.embed(run, [query], device="cpu").vectors[0]
        order = np.argsort(-(vectors @ asked), kind="stable")
        found = search(query, folder, run, device="cpu", top=20)
        assert files_of(found) == [str(folder / names[i]) for i in order]
        np.testing.assert_allclose([m.similarity for m in found.matches], (vectors @ asked)[order],
                                   atol=1e-5)
        assert found.query == "input 0"

    def test_the_query_itself_is_left_out(self, run, folder):
        found = search(folder / "a0.ply", folder, run, device="cpu", top=50)
        assert len(found.matches) == 11 and str(folder / "a0.ply") not in files_of(found)
        shutil.copy(folder / "a0.ply", folder / "copy.ply")  # one under another name is not
        found = search(folder / "a0.ply", folder, run, device="cpu", top=1)
        assert files_of(found) == [str(folder / "copy.ply")]

    def test_prefixes(self, run, folder):
        query = folder / "a0.ply"
        whole = search(query, folder, run, device="cpu")
        funnel = search(query, folder, run, device="cpu", funnel=[(4, 12), (8, 12)])
        assert funnel.method == "funnel" and files_of(funnel) == files_of(whole)
        short = search(query, folder, run, device="cpu", dim=4)
        assert short.dim == 4 and short.matches[0].similarity != whole.matches[0].similarity
        with pytest.raises(UsageError, match="no prefix of 6 numbers"):
            search(query, folder, run, device="cpu", funnel=[(6, 3)])
        with pytest.raises(UsageError, match="exclude each other"):
            search(query, folder, run, device="cpu", dim=4, funnel=[(4, 3)])

    def test_what_is_not_there_is_told_before_anything_is_indexed(self, run, folder, tmp_path):
        with pytest.raises(InputError, match="no such folder"):
            search(folder / "a0.ply", tmp_path / "none", run, device="cpu")
        with pytest.raises(FileFormatError):
            search(tmp_path / "none.ply", folder, run, device="cpu")
        (tmp_path / "empty").mkdir()
        with pytest.raises(InputError):
            search(folder / "a0.ply", folder, run, device="cpu", top=0)
        assert not (folder / ".pcinv-index").exists()
        with pytest.raises(InputError, match="no shape can be read in this folder"):
            search(folder / "a0.ply", tmp_path / "empty", run, device="cpu")


class TestFiles:
    def test_hidden_ambiguous_and_unknown_files_are_no_shapes(self, folder):
        for name in (".a.ply", "notes.txt", "list.csv", "picture.jpeg", "sub/.b.ply"):
            (folder / name).write_text("0 0 0\n")
        (folder / ".git").mkdir()
        shutil.copy(folder / "a0.ply", folder / ".git/a.ply")
        (folder / "broken.ply").symlink_to("nowhere.ply")
        (folder / "linked.ply").symlink_to(folder / "a0.ply")
        names = set(shapes_of(folder)[0])
        assert names == {*(f"{'sub/' if k % 2 else ''}a{k}.ply" for k in range(12)), "linked.ply"}

    def test_a_folder_that_cannot_be_listed_is_named(self, folder, monkeypatch):
        walk = os.walk

        def refuse(top, onerror):
            yield from walk(top)
            onerror(PermissionError(13, "Permission denied", str(folder / "sub")))

        monkeypatch.setattr(os, "walk", refuse)
        (skipped,) = shapes_of(folder)[1]
        assert skipped.file == str(folder / "sub") and "Permission denied" in skipped.error.message

    def test_damaged_ones_are_named_and_do_not_end_it(self, run, folder):
        (folder / "bad.ply").write_bytes(b"ply\nformat ascii 1.0\nelement vertex 9\n")
        (folder / "flat.ply").write_bytes((folder / "a0.ply").read_bytes()[:200])
        found = search(folder / "a0.ply", folder, run, device="cpu")
        assert found.num_indexed == 12 and found.num_embedded == 12
        assert {one.file for one in found.skipped} == {str(folder / "bad.ply"),
                                                       str(folder / "flat.ply")}
        again = search(folder / "a0.ply", folder, run, device="cpu")
        assert again.num_embedded == 0 and len(again.skipped) == 2

    def test_names_that_are_no_unicode(self, run, folder):
        name = os.fsdecode(b"caf\xe9.ply")
        try:
            shutil.copy(folder / "a0.ply", folder / name)
        except (OSError, UnicodeError):
            pytest.skip("the file system takes no such name")
        found = search(folder / "a0.ply", folder, run, device="cpu", top=1)
        assert files_of(found) == [str(folder / name)]

    def test_one_warning_for_all_that_have_no_normals(self, run, folder, caplog):
        import dataclasses

        from pcinv.engine.loading import load_model

        loaded = load_model(run)
        loaded = dataclasses.replace(loaded, meta=dataclasses.replace(loaded.meta, normals="data"))
        search(folder / "a0.ply", folder, loaded, device="cpu")
        told = [text for text in map(logging.LogRecord.getMessage, caplog.records)
                if "normals" in text]
        assert len(told) == 2 and told[1].startswith("12 of 12 new shapes have no normals")


class TestIndex:
    @pytest.fixture
    def embedded(self, monkeypatch):
        """Names of the files that were embedded, query included."""
        names = []
        batches = Embedder.batches

        def watch(self, inputs, **options):
            names.extend(Path(item).name for item in inputs)
            return batches(self, inputs, **options)

        monkeypatch.setattr(Embedder, "batches", watch)
        return names

    def test_only_what_is_new_or_changed_is_embedded_again(self, run, folder, embedded):
        query = folder / "a0.ply"
        assert search(query, folder, run, device="cpu").num_embedded == 12
        embedded.clear()
        again = search(query, folder, run, device="cpu")
        assert again.num_embedded == again.num_dropped == 0 and embedded == ["a0.ply"]
        (folder / "a2.ply").unlink()
        write_turned(folder / "a6.ply", folder / "new.ply")
        shutil.copy(folder / "a8.ply", folder / "a4.ply")
        os.utime(folder / "a4.ply", ns=(1, 1))
        embedded.clear()
        found = search(query, folder, run, device="cpu", top=20)
        assert (found.num_embedded, found.num_dropped, found.num_indexed) == (2, 1, 12)
        assert sorted(embedded) == ["a0.ply", "a4.ply", "new.ply"]
        assert str(folder / "a2.ply") not in files_of(found)
        score = {Path(m.file).name: m.similarity for m in found.matches}
        assert score["a4.ply"] == score["a8.ply"]  # the vector is that of the new content

    def test_a_changed_file_that_is_damaged_now_loses_its_vector(self, run, folder):
        search(folder / "a0.ply", folder, run, device="cpu")
        (folder / "a2.ply").write_bytes(b"ply\nnothing")
        found = search(folder / "a0.ply", folder, run, device="cpu", top=20)
        assert found.num_indexed == 11 and str(folder / "a2.ply") not in files_of(found)
        assert [one.file for one in found.skipped] == [str(folder / "a2.ply")]

    def test_other_weights_or_settings_are_told(self, run, folder, tmp_path):
        query = folder / "a0.ply"
        first = search(query, folder, run, device="cpu")
        other = train_encoder(tmp_path / "other", seed=1)
        for weights, extra in ((other, {}), (run, {"seed": 1})):
            with pytest.raises(CheckpointError, match="made with other weights") as caught:
                search(query, folder, weights, device="cpu", **extra)
            assert caught.value.exit_code == 5 and "--rebuild" in caught.value.hint
        found = search(query, folder, other, device="cpu", rebuild=True)
        assert found.num_embedded == 12
        with pytest.raises(CheckpointError):
            search(query, folder, run, device="cpu")
        again = search(query, folder, run, device="cpu", rebuild=True)
        assert files_of(again) == files_of(first)

    @pytest.mark.parametrize("damage", ["text", "cut", "hole", "vector", "foreign", "version"])
    def test_a_damaged_one_is_told_and_rebuilt(self, run, folder, damage):
        query = folder / "a0.ply"
        path = Path(search(query, folder, run, device="cpu").index)
        data = path.read_bytes()
        if damage == "text":
            path.write_text("hello " * 1000)
        elif damage == "cut":
            path.write_bytes(data[: len(data) // 2])
        elif damage == "hole":
            path.write_bytes(data[:100] + bytes(len(data) - 100))
        else:
            with sqlite3.connect(path) as table:
                table.execute({"vector": "UPDATE shapes SET vector = x'0000c07f' WHERE id = 3",
                               "foreign": "PRAGMA application_id = 7",
                               "version": "PRAGMA user_version = 99"}[damage])
            table.close()
        with pytest.raises(CheckpointError) as caught:
            search(query, folder, run, device="cpu")
        assert "--rebuild" in caught.value.hint and caught.value.where == str(path)
        assert len(search(query, folder, run, device="cpu", rebuild=True).matches) == 10

    def test_a_place_that_cannot_be_written_is_told(self, run, folder, tmp_path):
        (folder / ".pcinv-index").write_text("in the way")
        with pytest.raises(UsageError, match="cannot be kept here") as caught:
            search(folder / "a0.ply", folder, run, device="cpu")
        assert "--index DIR" in caught.value.hint
        found = search(folder / "a0.ply", folder, run, device="cpu", index=tmp_path / "i/j")
        assert found.index == str(tmp_path / "i/j/index.sqlite") and len(found.matches) == 10

    @pytest.mark.skipif(os.geteuid() == 0, reason="the superuser may write anywhere")
    def test_a_closed_folder_can_be_searched_as_long_as_nothing_is_new(self, run, folder):
        search(folder / "a0.ply", folder, run, device="cpu")
        place = folder / ".pcinv-index"
        for path in (place / "index.sqlite", place):
            path.chmod(path.stat().st_mode & ~0o222)
        assert len(search(folder / "a0.ply", folder, run, device="cpu").matches) == 10
        write_turned(folder / "a6.ply", folder / "new.ply")
        with pytest.raises(UsageError, match="cannot be kept here"):
            search(folder / "a0.ply", folder, run, device="cpu")

    def test_one_elsewhere_belongs_to_its_folder(self, run, folder, tmp_path):
        search(folder / "a0.ply", folder, run, device="cpu", index=tmp_path / "i")
        shutil.copytree(folder, tmp_path / "others")
        with pytest.raises(CheckpointError, match="the index belongs to") as caught:
            search(folder / "a0.ply", tmp_path / "others", run, device="cpu", index=tmp_path / "i")
        assert "another --index" in caught.value.hint

    def test_one_in_its_folder_moves_with_it(self, run, folder, tmp_path):
        search(folder / "a0.ply", folder, run, device="cpu")
        folder.rename(tmp_path / "moved")
        found = search(tmp_path / "moved/a0.ply", tmp_path / "moved", run, device="cpu")
        assert found.num_embedded == 0 and len(found.matches) == 10

    def test_what_was_done_before_a_kill_is_kept(self, run, folder, monkeypatch):
        """A process is killed while a batch is being written."""
        code = f"""
import os, signal, sqlite3, sys
sys.path.insert(0, {str(TESTS)!r})
import pytest
from helpers.tiny_encoder import use_encoder
from pcinv.engine import embed
from pcinv.engine.search import search
from pcinv.engine.search_index import SearchIndex
embed._TOGETHER = 4
done = []
def new_state(self, keep=SearchIndex._new_state):
    keep(self)
    done.append(1)
    if len(done) == 3:
        os.kill(os.getpid(), signal.SIGKILL)
SearchIndex._new_state = new_state
with pytest.MonkeyPatch.context() as patch:
    use_encoder(patch)
    search({str(folder / 'a0.ply')!r}, {str(folder)!r}, {str(run)!r}, device="cpu")
"""
        ended = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True,
                               timeout=120, env={**os.environ, "OMP_NUM_THREADS": "1"})
        assert ended.returncode == -signal.SIGKILL, ended.stderr
        found = search(folder / "a0.ply", folder, run, device="cpu")
        assert found.num_indexed == 12 and found.num_embedded == 4  # two batches of four stayed

    def test_an_interruption_keeps_the_batches_that_are_done(self, run, folder, monkeypatch):
        from pcinv.engine import embed

        monkeypatch.setattr(embed, "_TOGETHER", 5)

        def stop(done, total):
            assert total == 12
            if done == 10:
                raise KeyboardInterrupt

        with pytest.raises(KeyboardInterrupt):
            search(folder / "a0.ply", folder, run, device="cpu", progress=stop)
        assert search(folder / "a0.ply", folder, run, device="cpu").num_embedded == 2

    def test_another_writer_is_waited_for_and_then_told(self, run, folder, monkeypatch):
        path = Path(search(folder / "a0.ply", folder, run, device="cpu").index)
        write_turned(folder / "a6.ply", folder / "new.ply")
        monkeypatch.setattr(search_index, "_WAIT_S", 0.1)
        other = sqlite3.connect(path)
        other.execute("BEGIN IMMEDIATE")
        with pytest.raises(UsageError, match="another program is writing"):
            search(folder / "a0.ply", folder, run, device="cpu")
        other.close()
        assert search(folder / "a0.ply", folder, run, device="cpu").num_embedded == 1

    def test_a_full_disk_is_told(self, tmp_path):
        error = sqlite3.OperationalError("database or disk is full")
        error.sqlite_errorname = "SQLITE_FULL"
        told = search_index._told(tmp_path / "x", error)
        assert told.exit_code == 7 and "what was done is kept" in told.message


@pytest.mark.skipif(not has_library(), reason="faiss is not installed: pip install 'pcinv[search]'")
class TestLibrary:
    @pytest.fixture(autouse=True)
    def from_ten_on(self, monkeypatch):
        monkeypatch.setattr(module, "LIBRARY_FROM", 10)
        monkeypatch.setattr(module, "_MORE", 1)

    @pytest.fixture
    def folder(self, tmp_path):
        write_shapes(tmp_path / "shapes", 24)
        return tmp_path / "shapes"

    def test_its_file_is_kept_and_made_anew_after_a_change(self, run, folder, tmp_path):
        query = write_turned(folder / "a4.ply", tmp_path / "q.ply")
        found = search(query, folder, run, device="cpu", top=1)
        assert found.method == "faiss" and files_of(found) == [str(folder / "a4.ply")]
        (kept,) = (folder / ".pcinv-index").glob("*.faiss")
        stamp = kept.stat().st_mtime_ns
        search(query, folder, run, device="cpu", top=1)
        assert kept.stat().st_mtime_ns == stamp
        write_turned(query, folder / "nearer.ply", seed=3)
        (folder / "a4.ply").unlink()
        found = search(query, folder, run, device="cpu", top=1)
        assert files_of(found) == [str(folder / "nearer.ply")] and found.method == "faiss"
        (new,) = (folder / ".pcinv-index").glob("*.faiss")
        assert new.name != kept.name

    def test_short_vectors_and_many_matches_are_searched_one_by_one(self, run, folder):
        assert search(folder / "a0.ply", folder, run, device="cpu", dim=4, top=1).method == "exact"
        assert search(folder / "a0.ply", folder, run, device="cpu", top=9).method == "exact"


def test_without_the_library_the_search_is_exact(run, folder, monkeypatch):
    monkeypatch.setattr(module, "LIBRARY_FROM", 10)
    monkeypatch.setattr(module, "has_library", lambda: False)
    assert search(folder / "a0.ply", folder, run, device="cpu", top=1).method == "exact"


def test_an_index_is_open_as_long_as_its_block(run, folder):
    with SearchIndex(folder, Embedder(run, device="cpu")) as index:
        assert len(index) == 0 and index.update().embedded == 12 and len(index) == 12
        ids, files, vectors = index.shapes()
        assert files == sorted(files) and vectors.shape == (12, 16) and vectors.dtype == np.float32
        some = index.shapes(ids[3:5])
        assert some[1] == files[3:5] and np.array_equal(some[2], vectors[3:5])
    with pytest.raises(CheckpointError):
        len(index)
