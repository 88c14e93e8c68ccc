"""The exam that every system sits: tasks, metrics, the report."""
