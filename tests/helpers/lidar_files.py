"""Small LiDAR sequences in the layouts of the data sets, written by the tests themselves."""

import json
from pathlib import Path

import numpy as np

T_CAMERA_SCANNER = np.array([[0.0, -1, 0, 0.1], [0, 0, -1, -0.3], [1, 0, 0, -0.2], [0, 0, 0, 1]])
MICRO = 1532402927647951


def points(seed: int, count: int = 60) -> np.ndarray:
    """Return (count, 3) float32 points within 20 m."""
    return np.random.default_rng(seed).uniform(-20, 20, (count, 3)).astype(np.float32)


def drive(count: int, step: float = 0.8, turn: float = 0.02) -> np.ndarray:
    """Return (count, 4, 4) T_world_sensor of a drive forward that turns; the first is identity."""
    poses = [np.eye(4)]
    c, s = np.cos(turn), np.sin(turn)
    move = np.array([[c, -s, 0, step], [s, c, 0, 0.01], [0, 0, 1, 0.002], [0, 0, 0, 1]])
    for _ in range(count - 1):
        poses.append(poses[-1] @ move)
    return np.array(poses)


def numbers(poses: np.ndarray) -> str:
    """Return poses as 12 numbers a line."""
    return "".join(" ".join(map(repr, row)) + "\n" for row in poses[:, :3].reshape(-1, 12).tolist())


def write_kitti(root: Path, count: int = 5, name: str = "00", labels: bool = False,
                poses: bool = True) -> Path:
    """Write a sequence as KITTI has it, with SemanticKITTI's labels if asked; return its folder."""
    folder = root / "sequences" / name
    for part in ("velodyne", *(["labels"] if labels else [])):
        (folder / part).mkdir(parents=True)
    for k in range(count):
        rows = np.column_stack([points(k), np.linspace(0, 1, 60)]).astype("<f4")
        (folder / f"velodyne/{k:06d}.bin").write_bytes(rows.tobytes())
        if labels:
            classes = np.resize([0, 10, 252, 40, 48, 99], 60).astype("<u4")
            kinds = classes | (np.arange(60, dtype="<u4") << 16)
            (folder / f"labels/{k:06d}.label").write_bytes(kinds.tobytes())
    (folder / "times.txt").write_text("".join(f"{0.1 * k:.6e}\n" for k in range(count)))
    row = " ".join(map(repr, T_CAMERA_SCANNER[:3].reshape(-1).tolist()))
    (folder / "calib.txt").write_text(f"P0: {'1 ' * 12}\nTr: {row}\n")
    if poses:
        camera = T_CAMERA_SCANNER @ drive(count) @ np.linalg.inv(T_CAMERA_SCANNER)
        (root / "poses").mkdir(exist_ok=True)
        (root / f"poses/{name}.txt").write_text(numbers(camera))
    return folder


BOX_TABLES = ("sample_annotation", "instance", "category")


def write_nuscenes(root: Path, tables: bool = True, sweeps: bool = True) -> Path:
    """Write two scenes of nuScenes with two key frames and two sweeps each, and their tables."""
    rows = {name: [] for name in ("scene", "sample", "sample_data", "ego_pose",
                                  "calibrated_sensor", "lidarseg", *BOX_TABLES)}
    rows["category"] += [{"token": "c0", "name": "vehicle.car"}, {"token": "c1", "name": "animal"}]
    rows["instance"] += [{"token": f"i{k}", "category_token": f"c{k}"} for k in range(2)]
    rows["calibrated_sensor"].append({"token": "calib", "translation": [0.9, 0.0, 1.8],
                                      "rotation": [np.sqrt(0.5), 0, 0, -np.sqrt(0.5)]})
    (root / "lidarseg/v1.0-mini").mkdir(parents=True)
    for s in range(2):
        rows["scene"].append({"token": f"s{s}", "name": f"scene-000{s}"})
        for k in range(4):
            stamp, key = MICRO + 10**8 * s + 50_000 * k, k % 2 == 0
            folder = "samples" if key else "sweeps"
            file = f"{folder}/LIDAR_TOP/n015-day__LIDAR_TOP__{stamp}.pcd.bin"
            token = f"d{s}{k}"
            if key:
                rows["sample"].append({"token": f"p{s}{k}", "scene_token": f"s{s}"})
                rows["sample_annotation"] += [
                    {"token": f"a{s}{k}{i}", "sample_token": f"p{s}{k}", "instance_token": f"i{i}",
                     "translation": [610.0 + 0.5 * k, 1600.0 + 9 * i, 1.0], "size": [2.0, 4.5, 1.6],
                     "rotation": [np.cos(0.3), 0, 0, np.sin(0.3)], "num_lidar_pts": 7 - i}
                    for i in range(2 if k == 0 else 1)]
                labels = np.resize(np.arange(32, dtype=np.uint8), 60)
                (root / f"lidarseg/v1.0-mini/{token}_lidarseg.bin").write_bytes(labels.tobytes())
                rows["lidarseg"].append({"token": token, "sample_data_token": token, "filename":
                                         f"lidarseg/v1.0-mini/{token}_lidarseg.bin"})
            rows["sample_data"].append({
                "token": token, "sample_token": f"p{s}{k - k % 2}", "filename": file,
                "timestamp": stamp, "ego_pose_token": token, "calibrated_sensor_token": "calib",
                "is_key_frame": key})
            rows["ego_pose"].append({"token": token, "translation": [600 + 0.5 * k, 1600.0, 0.0],
                                     "rotation": [1.0, 0, 0, 0]})
            if key or sweeps:
                (root / folder / "LIDAR_TOP").mkdir(parents=True, exist_ok=True)
                table = np.column_stack([points(10 * s + k), np.linspace(0, 255, 60),
                                         np.arange(60) % 32]).astype("<f4")
                (root / file).write_bytes(table.tobytes())
    if tables:
        (root / "v1.0-mini").mkdir()
        for name, records in rows.items():
            (root / f"v1.0-mini/{name}.json").write_text(json.dumps(records, indent=0))
    return root


def write_feather(file: Path, **columns) -> None:
    """Write columns as pandas does, packed by lz4."""
    import pyarrow
    import pyarrow.feather

    file.parent.mkdir(parents=True, exist_ok=True)
    pyarrow.feather.write_feather(pyarrow.table(columns), file)


def write_argoverse(root: Path, count: int = 3, flow: str | None = "log") -> Path:
    """Write a log of Argoverse 2; flow : "log" for one file, "sweep" for one each; return it."""
    log = root / "val" / "0a-log"
    stamps = 315966265259836000 + 10**8 * np.arange(count)
    poses = drive(count)
    poses[:, :3, 3] += (5000, 2400, 60)
    half = np.arctan2(poses[:, 1, 0], poses[:, 0, 0]) / 2
    pose = {"qw": np.cos(half), "qx": 0 * half, "qy": 0 * half, "qz": np.sin(half),
            "tx_m": poses[:, 0, 3], "ty_m": poses[:, 1, 3], "tz_m": poses[:, 2, 3]}
    dense = {"timestamp_ns": np.sort(np.concatenate([stamps, stamps + 5, stamps - 7]))}
    dense |= {name: np.repeat(values, 3) for name, values in pose.items()}
    write_feather(log / "city_SE3_egovehicle.feather", **dense)
    for k, stamp in enumerate(stamps):
        xyz = points(k).astype(np.float16)
        write_feather(log / f"sensors/lidar/{stamp}.feather", x=xyz[:, 0], y=xyz[:, 1], z=xyz[:, 2],
                      intensity=np.arange(60, dtype=np.uint8),
                      laser_number=np.arange(60, dtype=np.uint8),
                      offset_ns=np.arange(60, dtype=np.int32) * 10**6)
        if flow == "sweep":
            write_flow(log / f"flow_labels/{stamp}.feather", k)
    if flow == "log":
        write_flow(log / "flow_labels.feather", 0)
    return log


def write_flow(file: Path, seed: int) -> None:
    """Write the flow of a sweep: the first five points are not valid."""
    move = points(100 + seed) / 20
    write_feather(file, flow_tx_m=move[:, 0], flow_ty_m=move[:, 1], flow_tz_m=move[:, 2],
                  is_valid=np.arange(60) >= 5, is_ground_0=np.arange(60) % 2 == 0,
                  classes_0=np.resize([0, 19, 17], 60).astype(np.uint8))


def write_boxes(log: Path) -> None:
    """Write two boxes of the first sweep and one of the second."""
    stamps = [int(file.stem) for file in sorted((log / "sensors/lidar").iterdir())]
    half = np.array([0.0, 0.3, 0.3])
    write_feather(log / "annotations.feather", timestamp_ns=[stamps[0], stamps[0], stamps[1]],
                  track_uuid=["a", "b", "b"], category=["PEDESTRIAN", "BUS", "BUS"],
                  length_m=[0.6, 11.0, 11.0], width_m=[0.5, 2.5, 2.5], height_m=[1.8, 3.0, 3.0],
                  qw=np.cos(half), qx=[0.0] * 3, qy=[0.0] * 3, qz=np.sin(half),
                  tx_m=[5.0, 9.0, 8.5], ty_m=[1.0, -3.0, -3.0], tz_m=[0.9, 1.5, 1.5],
                  num_interior_pts=[12, 80, 75])
