"""Matches from a network that sees both clouds at once.

It is given the finer clouds that patches are cut from, in units of prepared clouds: 2.5 cm rooms.
"""

from __future__ import annotations

import numpy as np
import torch
from jaxtyping import Float

from pcinv.errors import InputError
from pcinv.models.roitr import RoITr, match
from pcinv.registration.patches import detail
from pcinv.registration.prepare import Prepared
from pcinv.registration.shipped import load_shipped

MOST_POINTS = 100_000
"""Points of a finer cloud: its 1,600 superpoints all look at each other."""
Points = Float[np.ndarray, "k 3"]


def match_jointly(source: Prepared, target: Prepared, limit: int) -> tuple[Points, Points]:
    """Return matched points of both clouds (K, 3), the most confident first, each pair once.

    Raises InputError where the clouds' network is none for pairs, or the clouds are too large or
    too small for it; CheckpointError where none came with the package.
    """
    network = load_shipped("roitr") if source.descriptor is None else source.descriptor
    if not isinstance(network, RoITr):
        raise InputError(f"a {type(network).__name__} matches no pairs", where="descriptor",
                         hint="train one: pcinv train --backbone roitr")
    fine = [detail(cloud) for cloud in (source, target)]
    for name, cloud in zip(("source", "target"), fine, strict=True):
        if len(cloud.points) > MOST_POINTS:
            raise InputError(f"{len(cloud.points):,} points at half the voxel, RoITr takes at most "
                             f"{MOST_POINTS:,}", where=name,
                             hint="a larger --voxel, or --method patch")
    found = match(network, *(torch.from_numpy(np.ascontiguousarray(part))
                             for cloud in fine for part in cloud[:2]))
    rows, columns = found.src_index.cpu().numpy(), found.tgt_index.cpu().numpy()
    order = np.argsort(-found.confidence.cpu().numpy(), kind="stable")
    pair = rows.astype(np.int64) * len(fine[1].points) + columns
    first = np.sort(np.unique(pair[order], return_index=True)[1])[:limit]
    chosen = order[first]
    return fine[0].points[rows[chosen]], fine[1].points[columns[chosen]]
