"""Stage processes: each stage runs in a process of its own, bounded in time."""
