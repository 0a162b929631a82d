"""RISurConv written down layer by layer, as it is described: the baseline of the speed figures.

Tensors are (B, C, K, S) as in the published code, every layer is a 1x1 convolution on all
neighbours, every feature is computed by its own formula, each level samples and searches anew.
It takes the weights of `pcinv`'s network and must give the same logits.
"""

import math

import torch
import torch.nn.functional as F

from pcinv.geometry.symmetric import eigh3


def unit(v):
    return v / (v.norm(dim=-1, keepdim=True) + 1e-7)


def dot(a, b):
    return (a * b).sum(-1)


def farthest(xyz, count, from_first):
    """Farthest point sampling of (B, N, 3) from the first point, or the farthest from the mean."""
    b, n, _ = xyz.shape
    rows = torch.arange(b)
    found = torch.zeros(b, count, dtype=torch.long)
    distance = torch.full((b, n), math.inf, dtype=xyz.dtype)
    last = ((xyz - xyz.mean(1, keepdim=True)) ** 2).sum(-1).argmax(1)
    if from_first:
        last = torch.zeros_like(last)
    for i in range(count):
        found[:, i] = last
        distance = torch.minimum(distance, ((xyz - xyz[rows, last][:, None]) ** 2).sum(-1))
        last = distance.argmax(1)
    return found


def pick(values, index):
    """values: (B, N, C), index: (B, ...) -> (B, ..., C)."""
    b = values.shape[0]
    rows = torch.arange(b).view(b, *([1] * (index.dim() - 1))).expand_as(index)
    return values[rows, index]


def order(offset, axis):
    """Cyclic order of neighbours. offset: (B, S, K, 3), axis: (B, S, 3)."""
    n = axis[:, :, None]
    flat = offset - dot(offset, n)[..., None] * n
    radius = flat.norm(dim=-1)
    far = radius.argmax(-1, keepdim=True)
    e = torch.gather(flat, 2, far[..., None].expand(*far.shape, 3))
    e = e / e.norm(dim=-1, keepdim=True).clamp_min(1e-30)
    angle = torch.atan2(dot(flat, torch.cross(e, n.expand_as(e), dim=-1)), dot(flat, e))
    angle = torch.where(angle < 0, angle + 2 * math.pi, angle)
    angle = angle.scatter(-1, far, 0.0)
    on_axis = radius <= 1e-5 * radius.amax(-1, keepdim=True)
    angle = torch.where(on_axis, 7 + torch.atan(dot(offset, n)), angle)
    return angle.sort(dim=-1, stable=True).indices


def risp(offset, normal, axis, stride):
    """The 14 features, one formula each. offset, normal: (B, S, K, 3)."""
    a, n_a, n_p = offset, normal, axis[:, :, None]
    b, n_b = a.roll(stride, 2), n_a.roll(stride, 2)
    c, n_c = a.roll(-stride, 2), n_a.roll(-stride, 2)
    return torch.stack([
        a.norm(dim=-1),
        dot(unit(a), n_p),
        -dot(unit(a), n_a),
        dot(unit(a), unit(b)),
        dot(unit(b), n_p),
        -dot(unit(b), n_b),
        dot(unit(b), unit(b - a)),
        -dot(unit(a - b), n_a),
        dot(unit(a - b), n_b),
        dot(unit(c), unit(a)),
        dot(unit(c), unit(c - a)),
        dot(unit(c - a), n_c),
        dot(unit(a), n_c),
        dot(torch.cross(unit(c), unit(a), dim=-1), torch.cross(unit(b), unit(a), dim=-1)),
    ], dim=-1)


def conv(x, linear):
    """1x1 convolution of (B, C, K, S) with the weights of a linear layer."""
    return F.conv2d(x, linear.weight[:, :, None, None], linear.bias)


def norm(x, bn):
    return F.batch_norm(x, bn.running_mean, bn.running_var, bn.weight, bn.bias, bn.training,
                        bn.momentum, bn.eps)


def attend(x, layer):
    """Offset attention over the K axis of (B, C, K, S)."""
    x = x.permute(0, 3, 2, 1)  # (B, S, K, C)
    q, k = F.linear(x, layer.query.weight), F.linear(x, layer.key.weight)
    v = F.linear(x, layer.value.weight, layer.value.bias)
    a = torch.softmax(q @ k.transpose(-1, -2), dim=-1)
    a = a / (1e-9 + a.sum(-2, keepdim=True))
    r = a.transpose(-1, -2) @ v
    y = (x - r).permute(0, 3, 2, 1)
    y = F.relu(norm(conv(y, layer.offset.linear), layer.offset.norm))
    return x.permute(0, 3, 2, 1) + y


def surface_conv(features, index, carried, layer):
    """features: (B, S, K, 14), carried: (B, N, C) -> (B, S, C)."""
    x = features.permute(0, 3, 2, 1)
    x = F.relu(norm(conv(x, layer.embed_1.linear), layer.embed_1.norm))
    x = F.relu(norm(conv(x, layer.embed_2.linear), layer.embed_2.norm))
    x = attend(x, layer.attend_neighbours)
    weight = layer.merge.weight
    if carried is not None:
        x = torch.cat((x, pick(carried, index).permute(0, 3, 2, 1)), dim=1)
        weight = torch.cat((weight, layer.carry.weight), dim=1)
    x = F.conv2d(x, weight[:, :, None, None], layer.merge.bias)
    x = F.relu(norm(x, layer.norm)).max(dim=2, keepdim=True).values  # (B, C, 1, S)
    return attend(x.transpose(2, 3), layer.attend_centres)[..., 0].transpose(1, 2)


def forward(model, xyz, normal):
    """Logits of the classifier `model` for (B, N, 3) points and normals."""
    xyz = xyz - xyz.mean(1, keepdim=True)
    hyper, carried = model.hyper, None
    for layer, count, k in zip(model.encoder.layers, hyper.centres, hyper.neighbours, strict=True):
        centre = farthest(xyz, count, from_first=carried is not None)
        new_xyz, new_normal = pick(xyz, centre), pick(normal, centre)
        distance = ((new_xyz[:, :, None] - xyz[:, None]) ** 2).sum(-1)
        index = distance.topk(k, dim=-1, largest=False).indices
        turn = order(pick(xyz, index) - new_xyz[:, :, None], new_normal)
        index = index.gather(-1, turn)
        features = risp(pick(xyz, index) - new_xyz[:, :, None], pick(normal, index), new_normal,
                        2 if count >= 1024 else 1)
        carried = surface_conv(features, index, carried, layer)
        xyz, normal = new_xyz, new_normal
    mean = xyz.mean(1, keepdim=True)
    offset = xyz - mean
    distance = offset.norm(dim=-1)
    weight = distance.amax(1, keepdim=True) - distance
    axis = eigh3(torch.einsum("bn,bni,bnj->bij", weight, offset, offset).double())[1][:, None, :, 0]
    b = len(xyz)
    outs = []
    for sign in (1, -1):
        turn = order(offset[:, None], (sign * axis).to(offset))
        features = risp(pick(offset, turn), pick(normal, turn), (sign * axis).to(offset), 1)
        outs.append((features, turn))
    features = torch.cat([f for f, _ in outs])
    turn = torch.cat([t for _, t in outs])
    pooled = surface_conv(features, turn, carried.repeat(2, 1, 1), model.pool.layer)[:, 0]
    return model.head(torch.maximum(pooled[:b], pooled[b:]))
