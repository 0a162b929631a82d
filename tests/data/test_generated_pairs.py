"""Generated sets of pairs: made once, whole or not at all, and usable where other sets are."""

import json

import numpy as np
import pytest

from pcinv.errors import DatasetError, LimitError, UnknownNameError, UsageError
from pcinv.metrics.symmetry import Body, Symmetry
from pcinv_data import describe_dataset, object_pairs, room_pairs, verify_dataset
from pcinv_data.benchmark import run_registration, score_registration
from pcinv_data.generated_pairs import LIST, MadePair, MadeScene, open_generated
from pcinv_data.pairs import PAIR_SETS, load_pairs, pair_folder

GENERATED = [name for name, row in PAIR_SETS.items() if not row.needs_root]
SCENES = ["one", "two"]


def tiny(name, body=None):
    """Three clouds of the same points in frames of their own, row by row; all pairs of them."""
    rng = np.random.default_rng(len(name))
    points = rng.uniform(-1, 1, (300, 3))
    poses = [np.eye(4) for _ in range(3)]
    for k, pose in enumerate(poses):
        pose[:3, :3] = np.roll(np.eye(3), k, axis=0)
        pose[:3, 3] = k, 0, 2
    clouds = [points @ pose[:3, :3].T + pose[:3, 3] for pose in poses]
    information = room_pairs.information_matrix(clouds[0][:50])
    pairs = [MadePair(f"{name}/{i}-{j}", j, i, poses[i] @ np.linalg.inv(poses[j]), 0.3 + 0.1 * j,
                      information, body) for i, j in ((0, 1), (0, 2), (1, 2))]
    return MadeScene(clouds, pairs)


@pytest.fixture
def maker():
    """Return a maker of scenes that notes what it was asked for."""
    def make(name):
        make.asked.append(name)
        return tiny(name)

    make.asked = []
    return make


@pytest.fixture
def small(monkeypatch):
    """Both sets have two scenes of three pairs; return the names that were made."""
    made = []
    round_ = Body((0.0, 0.0, 0.0), 4.0, Symmetry(0, (0.0, 0.0, 1.0))).to_dict()
    plain = Body((0.0, 0.0, 0.0), 4.0).to_dict()
    for module, bodies in ((room_pairs, (None, None)), (object_pairs, (round_, plain))):
        def make(name, bodies=bodies):
            made.append(name)
            return tiny(name, bodies[SCENES.index(name)])

        monkeypatch.setattr(module, "SCENES", SCENES)
        monkeypatch.setattr(module, "make_scene", make)
    return made


def test_scenes_are_made_once(tmp_path, maker):
    first = open_generated(tmp_path, "toy", 1, SCENES, maker)
    assert maker.asked == SCENES and len(first) == 6
    again = open_generated(tmp_path, "toy", 1, SCENES, maker)
    assert maker.asked == SCENES
    for a, b in zip(first, again, strict=True):
        assert a.name == b.name and np.array_equal(a.T_target_source, b.T_target_source)
        assert np.array_equal(a.information, b.information) and a.overlap == b.overlap
    one = open_generated(tmp_path, "toy", 2, SCENES, maker, scene="two")  # another version
    assert maker.asked == [*SCENES, "two"] and {pair.scene for pair in one} == {"two"}


def test_what_is_stored_is_what_was_made(tmp_path, maker):
    made = tiny("one")
    pairs = open_generated(tmp_path, "toy", 1, ["one"], maker)
    for pair, expected in zip(pairs, made.pairs, strict=True):
        assert np.array_equal(pair.T_target_source, expected.T_target_source)
        assert np.array_equal(pair.information, expected.information)
        assert (pair.source_id, pair.target_id) == (expected.source_id, expected.target_id)
        source = made.clouds[pair.source_id].astype(np.float32)
        assert np.array_equal(pair.load_source(), source)
        T = pair.T_target_source
        assert np.abs(source @ T[:3, :3].T + T[:3, 3] - pair.load_target()).max() < 1e-5
        assert not pair.symmetric


def test_two_folders_get_the_same_bytes(tmp_path, maker):
    for name in ("a", "b"):
        open_generated(tmp_path / name, "toy", 1, SCENES, maker)
    files = sorted(p.relative_to(tmp_path / "a") for p in (tmp_path / "a").rglob("*.*"))
    assert len([file for file in files if file.suffix in (".ply", ".json")]) == 8
    for file in files:
        if (tmp_path / "a" / file).is_file():
            assert (tmp_path / "a" / file).read_bytes() == (tmp_path / "b" / file).read_bytes()


def test_an_interruption_leaves_whole_scenes_alone(tmp_path, maker, monkeypatch):
    def stop(name):
        if name == "two":
            raise KeyboardInterrupt
        return maker(name)

    with pytest.raises(KeyboardInterrupt):
        open_generated(tmp_path, "toy", 1, SCENES, stop)
    assert [p.name for p in (tmp_path / "toy-1").iterdir()] == ["one"]
    monkeypatch.setattr("pcinv.engine.files.write_synced", stop_writing)
    with pytest.raises(KeyboardInterrupt):  # within the writing of a scene
        open_generated(tmp_path, "toy", 1, SCENES, maker)
    assert [p.name for p in (tmp_path / "toy-1").iterdir()] == ["one"]
    monkeypatch.undo()
    assert len(open_generated(tmp_path, "toy", 1, SCENES, maker)) == 6
    assert maker.asked == ["one", "two", "two"]


def stop_writing(path, data):
    raise KeyboardInterrupt


def test_damage_is_named(tmp_path, maker):
    open_generated(tmp_path, "toy", 1, SCENES, maker)
    file = tmp_path / "toy-1" / "two" / LIST
    text = file.read_text()
    row = json.loads(text)[0]
    damages = ["", "{", "[1]", "[{}]", json.dumps([{**row, "T_target_source": [[1, 2]]}]),
               json.dumps([{**row, "information": [1, 2]}]), json.dumps([{**row, "body": {}}])]
    for damage in damages:
        file.write_text(damage)
        with pytest.raises(DatasetError) as caught:
            open_generated(tmp_path, "toy", 1, SCENES, maker)
        assert str(file) in caught.value.where
    file.write_text(text)
    (file.parent / "cloud_1.ply").unlink()
    with pytest.raises(DatasetError, match=r"the first is cloud_1\.ply"):
        open_generated(tmp_path, "toy", 1, SCENES, maker)
    file.unlink()
    with pytest.raises(DatasetError, match="a folder without"):
        open_generated(tmp_path, "toy", 1, SCENES, maker)
    with pytest.raises(UnknownNameError, match="did you mean two"):
        open_generated(tmp_path, "toy", 1, SCENES, maker, scene="tow")
    (tmp_path / "file").write_text("")
    with pytest.raises(LimitError, match="cannot write"):
        open_generated(tmp_path / "file", "toy", 1, SCENES, maker)


def test_they_need_no_folder(small):
    assert GENERATED == ["rooms", "objects"]
    for name in GENERATED:
        assert len(load_pairs(name, None)) == 6 and len(load_pairs(name, None, limit=2)) == 2
    assert small == [*SCENES, *SCENES]
    assert pair_folder("rooms", None).is_dir() and pair_folder("rooms", "x").name == "x"
    with pytest.raises(UsageError, match="needs the folder"):
        pair_folder("3dmatch", None)


def test_they_are_told_of_and_verified(small, tmp_path):
    for name in GENERATED:
        told = describe_dataset(name)
        assert not told["needs_root"] and told["tasks"] == ["registration"]
        assert "generated" in told["title"] and told["terms"].startswith("None")
        assert verify_dataset(name, tmp_path).counts == {"test": 6}
    report = verify_dataset("rooms")
    assert report.ok and report.root is None
    (tmp_path / "rooms-1" / "two" / "cloud_0.ply").write_bytes(b"ply")
    assert "cloud_0.ply" in verify_dataset("rooms", tmp_path).problems[0]


@pytest.mark.parametrize("name", GENERATED)
def test_a_run_keeps_its_clouds_with_its_results(name, small, register, tmp_path):
    fake = register()
    told = run_registration(name, None, output=tmp_path / "out", pairs=4)
    assert told["recall"] == 1 and told["num_pairs"] == len(fake.calls) == 4
    assert small == SCENES and (tmp_path / "out" / "clouds" / f"{name}-1").is_dir()
    again = run_registration(name, None, output=tmp_path / "out", negatives=2)
    assert small == SCENES and len(fake.calls) == 8 and again["num_negatives"] == 2
    assert score_registration(tmp_path / "out") == again
    with pytest.raises(UsageError, match="fast False there"):
        run_registration(name, None, output=tmp_path / "out", fast=True)
    # the same clouds in another folder are of the same set
    moved = run_registration(name, tmp_path / "kept", output=tmp_path / "out", negatives=2)
    assert moved == again and len(fake.calls) == 8
    without = run_registration(name, None, scene="one")
    assert without["num_pairs"] == 3


def test_results_of_another_set_stay_as_they_are(small, register, tmp_path):
    register()
    run_registration("rooms", tmp_path / "kept", output=tmp_path / "out")
    before = {p: p.read_bytes() for p in (tmp_path / "out").iterdir()}
    with pytest.raises(UsageError, match="dataset rooms there, objects now"):
        run_registration("objects", None, output=tmp_path / "out")
    assert before == {p: p.read_bytes() for p in (tmp_path / "out").iterdir()}


def test_symmetric_objects_are_judged_up_to_their_symmetry(small, register, tmp_path):
    def turned(found, call):
        """About the z axis of the source, where the body has its axis."""
        T = found.transform.copy()
        T[:3, :3] = T[:3, :3] @ [[0, -1, 0], [1, 0, 0], [0, 0, 1]]
        return type(found)(**{**found.__dict__, "transform": T, "verdict": "suspect",
                              "reasons": ("ambiguous (symmetric or repeated): another pose",)})

    register(turned)
    for rotate in (False, True):
        # where clouds are moved, the turn is not about the axis any more
        told = run_registration("objects", None, output=tmp_path / f"{rotate}", rotate=rotate)
        assert told["rule"] == "objects"
        kinds = told["by_kind"]
        assert set(kinds) == {"plain", "symmetric"}
        plain, round_ = ([row for row in kinds[kind].values()] for kind in ("plain", "symmetric"))
        assert all(row["recall"] == 0 for row in plain)
        assert all(row["recall"] == (0 if rotate else 1) for row in round_)
        assert all(row["called_open"] == row["not_trusted"] == 1 for row in plain + round_)
        assert score_registration(tmp_path / f"{rotate}") == told
    register()
    told = run_registration("objects", None, output=tmp_path / "right", rotate=True)
    assert told["recall"] == 1 and told["rre_deg_median"] < 1e-3


def test_whole_objects_have_no_camera(small):
    for view_point in ("origin", "given"):
        with pytest.raises(UsageError, match="not seen by a camera"):
            run_registration("objects", None, view_point=view_point)
    with pytest.raises(UsageError, match="any units"):
        run_registration("objects", None, matches=True)


def test_real_objects_are_registered(tmp_path):
    """End to end: generated, registered, judged."""
    told = run_registration("objects", tmp_path, scene="nut", pairs=2)
    assert told["num_pairs"] == 2 and told["num_errors"] == 0 and told["recall"] == 1
    assert set(told["by_kind"]) == {"symmetric"}
    pairs = load_pairs("objects", tmp_path, scene="nut")
    assert len(pairs) == 4 and all(pair.symmetric for pair in pairs)


def test_the_names_of_the_scenes():
    assert len(room_pairs.SCENES) == 8 and len(object_pairs.SCENES) == 28
    for name, scenes in (("rooms", room_pairs.SCENES), ("objects", object_pairs.SCENES)):
        assert PAIR_SETS[name].scenes(pair_folder(name, None)) == scenes
