"""Shapes are checked while testing: jaxtyping's annotations by beartype. One thread, so that two test runs fit."""

import torch
from jaxtyping import install_import_hook

torch.set_num_threads(1)
PRETRAIN = ("clip", "clip_towers", "contrastive", "finetuning", "gpt1", "linear_probe")
SHAPED = ("vlm_history.connect", "vlm_history.images", *(f"vlm_history.pretrain.{module}" for module in PRETRAIN))
install_import_hook(list(SHAPED), "beartype.beartype")
