"""A share of the loss on each of several processes. Run under torchrun: python shards_of_loss.py FOLDER."""

import sys
from pathlib import Path

import torch
from safetensors.torch import save_file
from torch import distributed, nn
from torch.nn import functional as F
from torch.nn.parallel import DistributedDataParallel

from vlm_history.pretrain.contrastive import bounded_loss

BATCH, WIDTH = 24, 5


class Towers(nn.Module):
    """Two linear towers and a temperature: enough to see where every gradient goes."""

    def __init__(self) -> None:
        super().__init__()
        generator = torch.Generator().manual_seed(0)
        self.image = nn.Parameter(torch.randn(7, WIDTH, generator=generator, dtype=torch.float64))
        self.text = nn.Parameter(torch.randn(6, WIDTH, generator=generator, dtype=torch.float64))
        self.log_scale = nn.Parameter(torch.tensor(1.5, dtype=torch.float64))

    def forward(self, images: torch.Tensor, texts: torch.Tensor, chunk: int) -> torch.Tensor:
        vectors = F.normalize(images @ self.image, dim=1), F.normalize(texts @ self.text, dim=1)
        return bounded_loss(*vectors, self.log_scale.exp(), chunk)


def batch() -> tuple[torch.Tensor, torch.Tensor]:
    generator = torch.Generator().manual_seed(1)
    images, texts = (torch.randn(BATCH, n, generator=generator, dtype=torch.float64) for n in (7, 6))
    return images, texts


if __name__ == "__main__":
    torch.set_num_threads(1)
    distributed.init_process_group("gloo")
    rank, processes = distributed.get_rank(), distributed.get_world_size()
    share = BATCH // processes
    images, texts = (x[rank * share : (rank + 1) * share] for x in batch())
    towers = DistributedDataParallel(Towers())
    loss = towers(images, texts, chunk=4)
    loss.backward()
    distributed.all_reduce(loss.detach())
    if rank == 0:
        found = {name: p.grad.contiguous() for name, p in towers.module.named_parameters() if p.grad is not None}
        save_file({**found, "loss": loss.detach() / processes}, Path(sys.argv[1]) / f"{processes}.safetensors")
    distributed.destroy_process_group()
