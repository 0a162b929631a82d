"""Shape classification from every prefix of a vector: a sum of losses, a figure for each prefix."""

import torch
from torch import Tensor

from pcinv.losses.nested import nested_cross_entropy
from pcinv.nn.embedding_heads import MatryoshkaHead
from pcinv.tasks import classification
from pcinv.tasks.batch import Batch, Labels


class Nested:
    """The functions of classification for a network whose logits are (B, G, K), one row a prefix.

    `oa`, `macc` and the confusion are those of the whole vector; `oa_16` that of its first 16.
    """

    def __init__(self, head: MatryoshkaHead) -> None:
        self.head = head

    def num_outputs(self, labels: Labels) -> int:
        """Return the number of logits of a prefix."""
        return classification.num_outputs(labels)

    def loss(self, logits: Tensor, batch: Batch, smoothing: float) -> Tensor:
        """Return the loss of each cloud, (B,), its prefixes summed up."""
        return nested_cross_entropy(logits, batch.label, self.head.weights, smoothing)

    def new_state(self, labels: Labels, device: torch.device) -> dict[str, Tensor]:
        """Return sums of zero; states of the same labels and prefixes add up entry by entry."""
        right = torch.zeros(len(self.head.nesting), dtype=torch.int64, device=device)
        return classification.new_state(labels, device) | {"right": right}

    def update(self, state: dict[str, Tensor], logits: Tensor, batch: Batch, losses: Tensor,
               labels: Labels) -> None:
        """Add the predictions and losses of one batch to the state."""
        state["right"] += torch.eq(logits.argmax(-1), batch.label[:, None]).sum(0)
        classification.update(state, logits[:, -1], batch, losses, labels)

    def compute(self, state: dict[str, Tensor]) -> dict[str, float]:
        """Return the metrics of classification, and the overall accuracy of shorter prefixes."""
        count = max(1, int(state["confusion"].sum()))
        prefixes = zip(self.head.nesting[:-1], state["right"].tolist(), strict=False)
        return classification.compute(state) | {f"oa_{m}": right / count for m, right in prefixes}

    def per_class(self, state: dict[str, Tensor], labels: Labels) -> dict[str, float]:
        """Return the accuracy of each class that is present, from the whole vector."""
        return classification.per_class(state, labels)
