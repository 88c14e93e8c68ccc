"""Shapes are checked while testing: jaxtyping's annotations by beartype. One thread, so that two test runs fit."""

import torch
from jaxtyping import install_import_hook

torch.set_num_threads(1)
SHAPED = ("vlm_history.connect", "vlm_history.images", "vlm_history.judge", "vlm_history.pretrain")
install_import_hook(list(SHAPED), "beartype.beartype")
