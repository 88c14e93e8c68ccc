"""Era 2: pre-training."""
