"""Era 1: experts, joined."""
