"""The one table of networks: what each is, which file holds it, what it promises. Plain data."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any


@dataclass(frozen=True)
class BackboneSpec:
    """One published method.

    module : file of `pcinv.models` that holds it, or the dotted path of another package's module;
        `module.build(name, task=..., ...)` makes the network.
    symmetry : group under which its answer does not change.
    presets : name -> what it is for; the first is the default.
    recipe : configuration values that training takes unless told otherwise.
    limits : what the promise of its symmetry leaves out, in a few words.
    """

    name: str
    title: str
    module: str
    paper: str
    symmetry: str
    tasks: tuple[str, ...]
    presets: dict[str, str]
    min_points: int
    needs_normals: bool = False
    recipe: dict[str, Any] = field(default_factory=dict)
    limits: str = ""


_PRESETS = {
    "light": "for a CPU: fewer centres and channels, normals or none",
    "paper": "the sizes of the paper",
}

_NEAR = "points as near as each other, where one has to be chosen"

_BODY_PRESETS = {"light": "for a CPU: fewer channels, one graph for all layers",
                 "paper": "the sizes of the paper"}
_BODY_TASKS = ("classification", "part_segmentation", "normals")

BACKBONES: dict[str, BackboneSpec] = {
    spec.name: spec
    for spec in (
        BackboneSpec(
            name="risurconv",
            title="RISurConv: rotation-invariant surface attention convolution",
            module="risurconv",
            paper="Zhang, Yang, Xiang: ECCV 2024, arXiv 2408.06110",
            symmetry="SO(3)",
            tasks=("classification", "part_segmentation"),
            presets=_PRESETS,
            min_points=4,
            limits=_NEAR,
        ),
        BackboneSpec(
            name="riconvpp",
            title="RIConv++: effective rotation-invariant convolution",
            module="risurconv",
            paper="Zhang, Hua, Yeung: IJCV 130(5), 2022, arXiv 2202.13094",
            symmetry="SO(3)",
            tasks=("classification", "part_segmentation"),
            presets=_PRESETS,
            min_points=4,
            limits=_NEAR,
        ),
        BackboneSpec(
            name="parot",
            title="PaRot: patches, frames that turn with them, and how these lie to each other",
            module="parot",
            paper="Zhang, Yu, Zhang, Cai: AAAI 2023, arXiv 2302.02535; exact frames are ours",
            symmetry="SO(3)",
            tasks=("classification", "part_segmentation"),
            presets=_PRESETS,
            min_points=4,
            limits=_NEAR,
        ),
        BackboneSpec(
            name="vsformer",
            title="VSFormer: transformer over the set of views, from cameras in principal axes",
            module="vsformer",
            paper="Sun, Wang, Cai, Wen: IEEE TVCG 31(4), 2025, arXiv 2409.09254; cameras are ours",
            symmetry="SO(3)",
            tasks=("classification",),
            presets={"light": "for a CPU: 12 views of 32x32 pixels",
                     "paper": "20 views of 224x224 pixels, the layers of AlexNet"},
            min_points=4,
            recipe={"augment": {"dropout": 0.2}},
            limits="two principal axes of equal length",
        ),
        BackboneSpec(
            name="pointnet",
            title="PointNet, to compare with: not invariant",
            module="pointnet",
            paper="Qi, Su, Mo, Guibas: CVPR 2017, arXiv 1612.00593",
            symmetry="none",
            tasks=_BODY_TASKS,
            presets=_BODY_PRESETS,
            min_points=1,
            limits="the pose, on purpose",
        ),
        BackboneSpec(
            name="dgcnn",
            title="DGCNN, to compare with: not invariant",
            module="dgcnn",
            paper="Wang et al.: ACM TOG 38(5), 2019, arXiv 1801.07829",
            symmetry="none",
            tasks=_BODY_TASKS,
            presets=_BODY_PRESETS,
            min_points=1,
            limits="the pose, on purpose",
        ),
        BackboneSpec(
            name="fa_pointnet",
            title="Frame Averaging of PointNet, with weighted frames",
            module="frame_averaging",
            paper="Puny et al.: ICLR 2022, arXiv 2110.03336; the weights of frames are ours",
            symmetry="SO(3)",
            tasks=_BODY_TASKS,
            presets=_BODY_PRESETS,
            min_points=1,
            limits="where the points that frames are made of exchange places",
        ),
        BackboneSpec(
            name="fa_dgcnn",
            title="Frame Averaging of DGCNN, with weighted frames",
            module="frame_averaging",
            paper="Puny et al.: ICLR 2022, arXiv 2110.03336; the weights of frames are ours",
            symmetry="SO(3)",
            tasks=_BODY_TASKS,
            presets=_BODY_PRESETS,
            min_points=1,
            limits=_NEAR,
        ),
        BackboneSpec(
            name="tinvnn",
            title="TinvNN: PointNet of points along their principal axes",
            module="tinvnn",
            paper="Zhang, Wang, Zhang, Cui, Zhu: arXiv 2112.12345; what it leaves open is ours",
            symmetry="SIM(3)",
            tasks=_BODY_TASKS,
            presets=_BODY_PRESETS,
            min_points=1,
            limits="two principal axes of equal length",
        ),
        BackboneSpec(
            name="tinvnn_dgcnn",
            title="TinvNN: DGCNN of points along their principal axes",
            module="tinvnn",
            paper="Zhang, Wang, Zhang, Cui, Zhu: arXiv 2112.12345; what it leaves open is ours",
            symmetry="SIM(3)",
            tasks=_BODY_TASKS,
            presets=_BODY_PRESETS,
            min_points=1,
            limits="two principal axes of equal length; equally near neighbours",
        ),
    )
}

_PATCH_RECIPE: dict[str, Any] = {
    "model": {"task": "matching"}, "data": {"dataset": "rooms", "limit": 120},
    "optim": {"lr": 3e-3, "weight_decay": 1e-3, "warmup_epochs": 0.2, "grad_clip": 5.0},
    "train": {"epochs": 8, "batch_size": 8},
}

MATCHERS: dict[str, BackboneSpec] = {
    spec.name: spec
    for spec in (
        BackboneSpec(
            name="cylinder_patch",
            title="Cylinder patch: circular convolutions on the patch around a point",
            module="cylinder_patch",
            paper="the patch is that of SpinNet, Ao et al.: CVPR 2021, arXiv 2011.12149; ours",
            symmetry="SE(3)",
            tasks=("matching",),
            presets={"light": "170 thousand parameters, patches of six voxels"},
            min_points=1,
            needs_normals=True,
            recipe=_PATCH_RECIPE,
            limits="normals whose side is not known",
        ),
        BackboneSpec(
            name="risurconv_patch",
            title="RISurConv as a descriptor of patches, to compare with",
            module="point_patch",
            paper="Zhang, Yang, Xiang: ECCV 2024, arXiv 2408.06110; the use is ours",
            symmetry="SE(3)",
            tasks=("matching",),
            presets={"light": "patches of 96 points"},
            min_points=1,
            needs_normals=True,
            recipe=_PATCH_RECIPE,
            limits="normals whose side is not known",
        ),
        BackboneSpec(
            name="roitr",
            title="RoITr: rotation-invariant transformer for point cloud matching",
            module="roitr",
            paper="Yu et al.: CVPR 2023, arXiv 2303.08231",
            symmetry="SE(3)",
            tasks=("matching",),
            presets={"light": "for a CPU: 1.9 million parameters",
                     "paper": "the sizes of the paper for 3DMatch: 10.1 million",
                     "paper_4dmatch": "the sizes of the paper for 4DMatch: 40 million"},
            min_points=128,
            needs_normals=True,
            recipe={
                "model": {"task": "matching"}, "data": {"dataset": "rooms", "limit": 160},
                "optim": {"lr": 1e-4, "weight_decay": 1e-4, "warmup_epochs": 0.05,
                          "grad_clip": 5.0},
                "train": {"epochs": 2, "batch_size": 2},
            },
            limits="normals whose side is not known; equally near neighbours",
        ),
    )
}
"""Networks that describe places, to be matched: scans go in, not clouds with a class."""

POSE_NETWORKS: dict[str, BackboneSpec] = {
    spec.name: spec
    for spec in (
        BackboneSpec(
            name="posenet",
            title="PoseNet: the rotation between two clouds, in a representation of choice",
            module="posenet",
            paper="Zhou, Barnes, Lu, Yang, Li: CVPR 2019, arXiv 1812.07035",
            symmetry="T(3)",
            tasks=("pose",),
            presets={"light": "for a CPU: 0.34 million parameters",
                     "paper": "the sizes of the paper: 1.19 million"},
            min_points=1,
            recipe={
                "model": {"task": "pose"}, "data": {"protocol": "none/none"},
                "augment": {"scale": [1.0, 1.0], "shift": 0.0, "dropout": 0.0},
                "optim": {"lr": 1e-3, "weight_decay": 0.0, "label_smoothing": 0.0},
                "train": {"epochs": 100, "batch_size": 16},
            },
            limits="rotation, which it measures",
        ),
    )
}
"""Networks that see two clouds of one thing, and say how one is turned into the other."""

LIDAR_NETWORKS: dict[str, BackboneSpec] = {
    spec.name: spec
    for spec in (
        BackboneSpec(
            name="pillar_bev",
            title="PillarBEV: pillars and a U-Net from above, for LiDAR scans",
            module="pillar_bev",
            paper="pillars: Lang et al., CVPR 2019, arXiv 1812.05784; pretraining: E-SSL3D, "
                  "arXiv 2404.11737; the light form is ours",
            symmetry="none",
            tasks=("pretraining", "segmentation", "detection"),
            presets={"light": "for a CPU: 51 m around the sensor, cells of 0.4 m",
                     "large": "102 m around the sensor, more channels"},
            min_points=1,
            recipe={
                "model": {"task": "pretraining"},
                "data": {"dataset": "lidar_sim", "num_points": 8192, "protocol": "none/none"},
                "optim": {"lr": 2e-3, "weight_decay": 0.01, "warmup_epochs": 0.5,
                          "label_smoothing": 0.0, "grad_clip": 5.0},
                "train": {"epochs": 8, "batch_size": 4},
            },
            limits="where in the world a scan is, on purpose",
        ),
        BackboneSpec(
            name="pillar_flow",
            title="PillarFlow: scene flow of two LiDAR scans at once, taught without labels",
            module="pillar_flow",
            paper="after FastFlow3D, arXiv 2103.01306, and PWC-Net, arXiv 1709.02371; taught as "
                  "ZeroFlow, arXiv 2305.10424; the form is ours",
            symmetry="none",
            tasks=("flow",),
            presets={"light": "for a CPU: 77 m around the sensor, cells of 0.4 m",
                     "large": "102 m around the sensor, cells of 0.2 m, more channels"},
            min_points=1,
            recipe={
                "model": {"task": "flow"},
                "data": {"dataset": "lidar_sim", "num_points": 16384, "protocol": "none/none",
                         "options": {"streets": 24, "scans": 12, "beams": 64, "columns": 1024}},
                "optim": {"lr": 2e-3, "weight_decay": 0.01, "warmup_epochs": 0.5,
                          "label_smoothing": 0.0, "grad_clip": 5.0},
                "train": {"epochs": 20, "batch_size": 4},
            },
            limits="which way a street runs, on purpose",
        ),
    )
}
"""Networks of LiDAR scans, metres and z up: `ScanBatch` goes in, see `pcinv.nn.pillars`."""
