"""DCNv2 and FinalMLP in plain PyTorch, on exported rows; run by `peers.py`.

Both read one embedding of `WIDTH` numbers per field (a bag: the weighted mean of its values' embeddings; a number: its
value times one embedding). x_0 is their concatenation.

DCNv2, parallel (Wang et al., WWW 2021)::

    x_{l+1} = x_0 * (W_l x_l + b_l) + x_l          logit = w . [x_L, MLP(x_0)] + b

FinalMLP (Mao et al., AAAI 2023)::

    x = MLP_1(2 sigmoid(gate_1) * x_0),  y = MLP_2(2 sigmoid(gate_2) * x_0)
    logit = b + w_x . x + w_y . y + sum over heads h of x_h^T W_h y_h

with gates that are trained and read no field. Adam, 1e-3 and 4,096 examples a step; the rate falls to a tenth once when
an epoch brings nothing on valid, and the second such epoch ends training; the best epoch's weights are kept. L2 weighs
on all embeddings in each step, as in the authors' library.
"""

from __future__ import annotations

import copy
import json
import sys
import time
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn

from fieldwise.metrics import evaluate_predictions

WIDTH, HIDDEN, CROSSES, HEADS = 16, (400, 400), 3, 8
BATCH, RATE, MAX_EPOCHS = 4096, 1e-3, 30


class Embedding(nn.Module):
    """x_0 of the fields: (B, F WIDTH)."""

    def __init__(self, rows: list[int], num_values: int, bag_widths: list[int]) -> None:
        super().__init__()
        self.register_buffer("base", torch.tensor([0, *np.cumsum(rows)[:-1]], dtype=torch.long))
        self.single = nn.Embedding(sum(rows), WIDTH)
        self.values = nn.Parameter(torch.empty(num_values, WIDTH))
        self.bags = nn.ParameterList([torch.empty(width, WIDTH) for width in bag_widths])
        self.bag_widths = bag_widths
        for weight in (self.single.weight, self.values, *self.bags):
            nn.init.normal_(weight, std=1e-2 if weight.numel() else 0.0)
        self.num_outputs = (len(rows) + num_values + len(bag_widths)) * WIDTH

    def forward(self, ids: Tensor, values: Tensor, bags: Tensor) -> Tensor:
        """Return x_0."""
        parts = [self.single(ids + self.base).flatten(1), (values.unsqueeze(-1) * self.values).flatten(1)]
        for many, weight in zip(bags.split(self.bag_widths, dim=1) if self.bag_widths else (), self.bags, strict=True):
            parts.append(many @ weight / many.sum(dim=1, keepdim=True).clamp_min(1e-6))
        return torch.cat(parts, dim=1)

    def squares(self) -> Tensor:
        """Return the sum of the squares of all embeddings."""
        return sum((weight**2).sum() for weight in self.parameters())


def perceptron(num_inputs: int, dropout: float, batch_norm: bool) -> nn.Sequential:
    """Return the hidden layers, the last one's outputs included."""
    layers: list[nn.Module] = []
    for width in HIDDEN:
        layers += [nn.Linear(num_inputs, width), *([nn.BatchNorm1d(width)] if batch_norm else []), nn.ReLU()]
        layers += [nn.Dropout(dropout)] if dropout else []
        num_inputs = width
    return nn.Sequential(*layers)


class DCNv2(nn.Module):
    """The parallel cross network with full matrices."""

    def __init__(self, embedding: Embedding, dropout: float, batch_norm: bool) -> None:
        super().__init__()
        self.embedding = embedding
        width = embedding.num_outputs
        self.crosses = nn.ModuleList([nn.Linear(width, width) for _ in range(CROSSES)])
        self.deep = perceptron(width, dropout, batch_norm)
        self.last = nn.Linear(width + HIDDEN[-1], 1)

    def forward(self, *inputs: Tensor) -> Tensor:
        """Return logits (B,)."""
        x0 = x = self.embedding(*inputs)
        for cross in self.crosses:
            x = x0 * cross(x) + x
        return self.last(torch.cat([x, self.deep(x0)], dim=1))[:, 0]


class FinalMLP(nn.Module):
    """Two gated streams and their bilinear fusion in heads."""

    def __init__(self, embedding: Embedding, dropout: float, batch_norm: bool) -> None:
        super().__init__()
        self.embedding = embedding
        width, outputs = embedding.num_outputs, HIDDEN[-1]
        self.gates = nn.Parameter(torch.zeros(2, width))
        self.streams = nn.ModuleList([perceptron(width, dropout, batch_norm) for _ in range(2)])
        self.linear = nn.Linear(2 * outputs, 1)
        self.fusion = nn.Parameter(torch.empty(HEADS, outputs // HEADS, outputs // HEADS))
        nn.init.xavier_normal_(self.fusion)

    def forward(self, *inputs: Tensor) -> Tensor:
        """Return logits (B,)."""
        x0 = self.embedding(*inputs)
        x, y = (stream(x0 * 2 * torch.sigmoid(gate)) for stream, gate in zip(self.streams, self.gates, strict=True))
        heads = [part.view(len(x0), HEADS, -1).transpose(0, 1) for part in (x, y)]
        fused = ((heads[0] @ self.fusion) * heads[1]).sum(dim=(0, 2))
        return self.linear(torch.cat([x, y], dim=1))[:, 0] + fused


def main() -> None:
    """Read the rows, train, write probabilities of valid and test, print the figures."""
    name, log, out, seed, settings = sys.argv[1:]
    chosen = json.loads(settings)
    torch.set_num_threads(1)
    torch.manual_seed(int(seed))
    with np.load(log) as arrays:
        rows, bag_widths = arrays["rows"].tolist(), arrays["bag_widths"].tolist()
        parts = {part: tensors(arrays, part) for part in ("train", "valid", "test")}
    embedding = Embedding(rows, parts["train"][1].shape[1], bag_widths)
    build = DCNv2 if name == "dcnv2" else FinalMLP
    model = build(embedding, chosen["dropout"], chosen.get("batch_norm", False))
    started = time.perf_counter()
    valid_auc, epochs = fit(model, parts, int(seed), chosen["embedding_l2"])
    seconds = time.perf_counter() - started
    np.savez(out, **{part: predict(model, parts[part]) for part in ("valid", "test")})
    parameters = sum(weight.numel() for weight in model.parameters())
    print(json.dumps({"valid_auc": valid_auc, "parameters": parameters, "seconds": seconds, "epochs": epochs}))


def tensors(arrays: Any, part: str) -> list[Tensor]:
    """Return ids (B, S), values (B, V), bags (B, G) and labels (B,) of a part."""
    values = np.nan_to_num(arrays[f"{part}_values"], nan=0.0)
    columns = (arrays[f"{part}_ids"].astype(np.int64), values, arrays[f"{part}_bags"], arrays[f"{part}_labels"])
    return [torch.from_numpy(np.ascontiguousarray(column)) for column in columns]


def fit(model: Any, parts: dict[str, list[Tensor]], seed: int, embedding_l2: float) -> tuple[float, int]:
    """Train until two epochs brought nothing; leave the model with its best weights, return valid AUC and epochs."""
    optimizer = torch.optim.Adam(model.parameters(), lr=RATE)
    loss = nn.BCEWithLogitsLoss()
    order = torch.Generator().manual_seed(seed)
    *inputs, labels = parts["train"]
    best, kept, failures, epoch = -1.0, None, 0, 0
    while failures < 2 and epoch < MAX_EPOCHS:
        model.train()
        for rows in torch.randperm(len(labels), generator=order).split(BATCH):
            optimizer.zero_grad()
            total = loss(model(*(column[rows] for column in inputs)), labels[rows].float())
            if embedding_l2:
                total = total + embedding_l2 / 2 * model.embedding.squares()
            total.backward()
            optimizer.step()
        epoch += 1
        auc = evaluate_predictions(predict(model, parts["valid"]), parts["valid"][-1].numpy()).auc
        print(f"{time.strftime('%X')} epoch {epoch} valid {auc:.5f}", file=sys.stderr, flush=True)
        if auc > best:
            best, kept = auc, (epoch, copy.deepcopy(model.state_dict()))
        else:
            failures += 1
            for group in optimizer.param_groups:
                group["lr"] *= 0.1
    assert kept is not None
    model.load_state_dict(kept[1])
    return best, kept[0]


def predict(model: Any, part: list[Tensor]) -> Any:
    """Return probabilities (B,)."""
    model.eval()
    with torch.inference_mode():
        pieces = zip(*(column.split(8192) for column in part[:-1]), strict=True)
        return torch.sigmoid(torch.cat([model(*piece) for piece in pieces])).numpy()


if __name__ == "__main__":
    main()
