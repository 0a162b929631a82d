"""`pcinv register`: its answer, its gate, what it writes, how it fails."""

import json
import shutil

import numpy as np
import pytest
from helpers.surfaces import body_view, box, moved, plane, pose_error, two_views

import pcinv
from pcinv.models.registry import weights_file

FIELDS = {
    "transform", "verdict", "reasons", "overlap", "inlier_rmse", "fitness", "num_correspondences",
    "num_inliers", "rotation_angle_deg", "translation_norm", "method", "spacing", "time_ms",
    "source", "target", "output",
}
ORIGIN = np.array([4.5e5, 5.2e6, 100.0])


def save(path, points, **attributes):
    origin = points.mean(0).round() if np.abs(points).max() > 1e4 else np.zeros(3)
    pcinv.write(path, pcinv.PointCloud((points - origin).astype(np.float32), origin, attributes))


@pytest.fixture(scope="module")
def made(tmp_path_factory):
    """a.ply (with attributes) and b.ply, which register; others that do not."""
    folder, views = tmp_path_factory.mktemp("clouds"), two_views(count=1500)
    rng = np.random.default_rng(0)
    normal = rng.normal(size=views.source.shape).astype(np.float32)
    normal /= np.linalg.norm(normal, axis=1, keepdims=True)
    save(folder / "a.ply", views.source, normal=normal,
         color=rng.integers(0, 255, views.source.shape).astype(np.uint8),
         quality=rng.random(len(normal)).astype(np.float32))
    save(folder / "b.ply", views.target)
    save(folder / "far_a.ply", views.source + ORIGIN)
    save(folder / "far_b.ply", views.target + ORIGIN)
    save(folder / "plane_a.ply", plane(1500, 0))
    save(folder / "plane_b.ply", plane(1500, 1))
    save(folder / "millimetres.ply", views.source * 1000)
    return folder


@pytest.fixture
def here(made, tmp_path):
    """The same files in the working folder."""
    for file in made.iterdir():
        shutil.copy(file, tmp_path)
    return tmp_path


@pytest.fixture
def told(run):
    """Return a function that runs `pcinv ARGS --json` and gives the result of any verdict."""
    return lambda *args: json.loads(run(*args, "--json").out)["result"]


def test_two_files_and_nothing_else(run, ask, here):
    whole = ask("register", "a.ply", "b.ply")
    result = whole["result"]
    assert set(result) >= FIELDS and whole["command"] == "register"
    assert (result["source"], result["target"], result["output"]) == ("a.ply", "b.ply", [])
    angle, shift = pose_error(np.array(result["transform"]), two_views(count=1500).T_target_source)
    assert angle < 1 and shift < result["voxel"] and result["verdict"] == "trusted"
    done = run("register", "a.ply", "b.ply")
    assert done.code == 0 and done.out.startswith("trusted: a.ply to b.ply")
    for word in ("T_target_source", "degrees", "of the source", "of the target", "RMSE", "matches",
                 "next: pcinv register a.ply b.ply -o aligned.ply"):
        assert word in done.out
    assert done.err == "registering a.ply to b.ply\n"
    assert run("register", "a.ply", "b.ply", "-q").err == ""


def test_outputs(ask, run, here):
    result = ask("register", "a.ply", "b.ply", "-o", "T.txt", "-o", "r.json", "--output",
                 "moved.ply")["result"]
    pose = np.array(result["transform"])
    assert result["output"] == ["T.txt", "r.json", "moved.ply"]
    assert np.array_equal(np.loadtxt("T.txt"), pose)
    first = (here / "T.txt").read_text().splitlines()[0]
    assert first.startswith("# T_target_source: takes a.ply to b.ply") and "trusted" in first
    stored = json.loads((here / "r.json").read_text())
    assert stored == result
    before, after = pcinv.read("a.ply"), pcinv.read("moved.ply")
    assert np.abs(after.absolute() - moved(before.absolute(), pose)).max() < 1e-6
    assert set(after.attributes) == set(before.attributes) == {"normal", "color", "quality"}
    assert np.abs(after.normal - before.normal @ pose[:3, :3].T).max() < 1e-6
    for name in ("color", "quality"):
        assert np.array_equal(after.attributes[name], before.attributes[name])
    shown = run("register", "a.ply", "b.ply", "-o", "new.xyz")
    assert "wrote new.xyz" in shown.out and len(np.loadtxt("new.xyz")) == len(before)


def test_clouds_far_from_zero_keep_their_digits(told, here):
    pose = np.array(told("register", "far_a.ply", "far_b.ply", "-o", "m.ply")["transform"])
    before, after = (pcinv.read(name).absolute() for name in ("far_a.ply", "m.ply"))
    assert np.abs(after - moved(before, pose)).max() < 1e-5
    assert np.linalg.norm(after.mean(0) - ORIGIN) < 10


def test_a_mesh_stays_a_mesh(ask, here):
    from scipy.spatial import ConvexHull

    points = two_views(count=1500).source
    faces = ConvexHull(points).simplices.astype(np.int64)
    pcinv.write("mesh.off", pcinv.Mesh(points, faces))
    start = write_pose("T.txt", np.eye(4))
    result = ask("register", "mesh.off", "b.ply", "--fast", "--init", start, "-o", "mesh.ply",
                 code=1)["result"]
    after = pcinv.read("mesh.ply")
    assert np.array_equal(after.faces, faces)
    assert np.abs(after.vertices - moved(points, np.array(result["transform"]))).max() < 1e-5
    assert ask("register", "mesh.off", "b.ply", "-o", "mesh.xyz", code=2)["error"]["hint"]


def write_pose(name, pose):
    np.savetxt(name, pose)
    return name


def test_the_gate(ask, run, here):
    whole = ask("register", "plane_a.ply", "plane_b.ply", "-o", "T.txt", code=1)
    assert whole["error"]["code"] == "not-trusted" and whole["result"]["verdict"] != "trusted"
    assert len(whole["result"]["open_motions"]) == 3
    assert (here / "T.txt").read_text().splitlines()[0].endswith(whole["result"]["verdict"])
    done = run("register", "plane_a.ply", "plane_b.ply")
    assert done.code == 1 and "  - degenerate (plane)" in done.out
    assert [line.split(":")[0] for line in done.err.splitlines()[1:]] == ["error", "where", "try"]
    done = run("register", "a.ply", "millimetres.ply")
    assert done.code == 1 and "are the units the same?" in done.err and "same units" in done.err


def test_explain(run, here):
    done = run("register", "a.ply", "b.ply", "--explain", "--fast", "--view-point", "0,0,0")
    lines = [line.split() for line in done.err.splitlines()[1:]]
    names = ["read", "scale", "prepare", "view", "features", "search", "polish", "verdict"]
    assert [line[0] for line in lines] == names and all("ms" in line for line in lines)
    assert "as given" in done.out and "radius 7 voxels" in done.err and done.code == 0


def test_options(ask, told, here):
    base = ("register", "a.ply", "b.ply")
    assert told(*base, "--viewpoint", "none")["view_points"].startswith("none")
    assert ask(*base, "--voxel", 0.05)["result"]["voxel"] == 0.05
    truth = two_views(count=1500).T_target_source
    start = write_pose("start.txt", truth)
    refined = told(*base, "--init", start)
    assert refined["method"] == "icp" and pose_error(np.array(refined["transform"]), truth)[0] < 1
    dry = ask(*base, "-o", "new.ply", "--dry-run")["result"]
    assert dry["written"] is False and not (here / "new.ply").exists()
    assert ask("-o", "x.txt", "register", "--fast", "a.ply", "b.ply")["result"]["written"]


@pytest.mark.parametrize("args, code, where", [
    (["none.ply", "b.ply"], 3, "none.ply"), (["a.ply", "empty.ply"], 3, "empty.ply"),
    (["one.xyz", "b.ply"], 3, "one.xyz"), (["a.ply", "equal.xyz"], 3, "equal.xyz"),
    (["nan.xyz", "b.ply"], 3, "nan.xyz"), (["a.ply", "text.ply"], 3, "text.ply"),
    (["a.ply"], 2, "register"), ([], 2, "register"), (["a.ply", "b.ply", "c.ply"], 2, "register"),
    (["a.ply", "b.ply", "--init", "bad.txt"], 3, "bad.txt:2"),
    (["a.ply", "b.ply", "--init", "none.txt"], 3, "none.txt"),
    (["a.ply", "b.ply", "--method", "sc3"], 2, "--method"),
    (["a.ply", "b.ply", "--view-point", "1,2"], 2, "--view-point"),
    (["a.ply", "b.ply", "--view-point", "camera"], 2, "--view-point"),
    (["a.ply", "b.ply", "--voxel", "0"], 2, "register"),
    (["a.ply", "b.ply", "--voxel", "nan"], 3, "voxel"),
    (["a.ply", "b.ply", "--voxel", "99"], 3, "ply"),
    (["a.ply", "b.ply", "--jobs", "2"], 2, "--jobs"),
    (["a.ply", "b.ply", "-o", "b.ply", "--force"], 2, "b.ply"),
    (["a.ply", "b.ply", "-o", "plane_a.ply"], 2, "plane_a.ply"),
    (["a.ply", "b.ply", "-o", "c.docx"], 2, "c.docx"),
    (["a.ply", "b.ply", "-o", "no/where.ply"], 2, "where.ply"),
    (["a.ply", "b.ply", "-o", "c.ply", "-o", "./c.ply"], 2, "--output"),
    (["--pairs", "list.csv"], 2, "--output"), (["--folder", "."], 2, "--output"),
    (["--folder", "none", "-o", "out"], 3, "none"),
    (["--pairs", "none.csv", "-o", "out"], 3, "none.csv"),
    (["--pairs", "a.ply", "-o", "out"], 3, "a.ply"),
    (["a.ply", "--pairs", "list.csv", "-o", "out"], 2, "SOURCE"),
    (["--pairs", "list.csv", "--folder", ".", "-o", "out"], 2, "--folder"),
    (["--pairs", "list.csv", "--init", "T.txt", "-o", "out"], 2, "--init"),
    (["--pairs", "list.csv", "--weights", "none.safetensors", "-o", "out"], 5, "none.safetensors"),
    (["a.ply", "b.ply", "--weights", "a.ply"], 5, "a.ply"),
])
def test_errors_name_what_is_at_fault(run, here, args, code, where):
    (here / "empty.ply").touch()
    (here / "one.xyz").write_text("1 2 3\n")
    (here / "equal.xyz").write_text("1 2 3\n" * 50)
    (here / "nan.xyz").write_text("nan nan nan\n" * 50)
    (here / "text.ply").write_text("this is no cloud at all\n" * 50)
    (here / "bad.txt").write_text("1 0 0 0\n0 2 0 0\n0 0 1 0\n0 0 0 1\n")
    before = sorted(path.name for path in here.iterdir())
    done = run("register", *args)
    assert done.code == code, done.err
    lines = [line for line in done.err.splitlines() if not line.startswith(("regist", "warning"))]
    assert [line.split(":")[0] for line in lines] == ["error", "where", "try"]
    assert where in lines[1] and done.out == ""
    assert sorted(path.name for path in here.iterdir()) == before
    told = json.loads(run("register", *args, "--json").out)
    assert told["ok"] is False and told["result"] is None and where in told["error"]["where"]


def test_a_list_of_pairs(ask, run, here):
    (here / "list.csv").write_text("source,target,init\na.ply,b.ply,\nplane_a.ply,plane_b.ply,\n"
                                   "none.ply,b.ply,\n")
    dry = ask("register", "--pairs", "list.csv", "-o", "out", "--dry-run")["result"]
    assert dry["num_pairs"] == 3 and not (here / "out").exists()
    whole = ask("register", "--pairs", "list.csv", "-o", "out", "--fast", code=1)
    assert whole["error"]["code"] == "not-trusted" and "1 error" in whole["error"]["message"]
    counts = whole["result"]["counts"]
    assert counts["trusted"] == 1 and counts["error"] == 1 and sum(counts.values()) == 3
    rows = [json.loads(line) for line in (here / "out/pairs.jsonl").read_text().splitlines()]
    assert [row["verdict"] for row in rows][::2] == ["trusted", None]
    done = run("register", "--pairs", "list.csv", "-o", "out", "--fast")
    assert done.code == 1 and "2 were done before" in done.out
    (here / "list.csv").write_text("source,target\na.ply,b.ply\n")
    assert ask("register", "--pairs", "list.csv", "-o", "two", "--fast")["result"]["num_pairs"] == 1
    more = ("--method", "patch", "--weights", str(weights_file("cylinder_patch")))
    ask("register", "--pairs", "list.csv", "-o", "three", *more)
    row = json.loads((here / "three/pairs.jsonl").read_text())
    assert row["features"] == "patch" and row["settings"]["weights"] == more[-1]
    done = run("register", "--pairs", "list.csv", "-o", "three", *more[:2])
    assert done.code == 2 and "weights" in done.err  # other settings than those there


def test_a_folder(ask, run, here):
    scans = here / "scans"
    scans.mkdir()
    for k in range(2):
        save(scans / f"s{k}.ply", body_view(35.0 * k, count=1500)[0])
    whole = ask("register", "--folder", "scans", "-o", "out", "--fast")
    result = whole["result"]
    assert result["groups"] == [["s0.ply", "s1.ply"]] and result["counts"]["trusted"] == 1
    for key in ("pairs_file", "poses_file", "model_file", "report_file"):
        assert (here / result[key]).is_file()
    assert len(pcinv.read(result["model_file"])) > 1000
    (scans / "damaged.ply").write_text("ply\n")
    done = run("register", "--folder", "scans", "-o", "out", "--fast")
    assert done.code == 1 and "0 of 2 clouds are joined to the others by no trusted" in done.err
    assert "1 could not be read" in done.err
    save(scans / "box.ply", box(1000, 0))
    done = run("register", "--folder", "scans", "-o", "out", "--fast")
    assert done.code == 1 and "1 of 3 clouds are joined to the others by no trusted" in done.err
    assert done.code == 1 and "2 of 3 clouds hang together; 2 groups" in done.out
    assert "warning: damaged.ply" in done.err and "1 were done before" in done.out


def test_only_what_is_needed_is_imported(process):
    code = ("import sys\nfrom pcinv_cli.main import cli\n"
            "code = cli.main(['register', '--help'], standalone_mode=False)\n"
            "sys.exit(' '.join({'torch', 'numpy', 'joblib'} & set(sys.modules)) or code)")
    assert process("-c", code).returncode == 0
