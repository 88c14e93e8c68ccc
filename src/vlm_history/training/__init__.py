"""Training: one loop (`loop`), and one recipe a system (`recipes`)."""
