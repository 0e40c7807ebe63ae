"""WHERE: every table's schema, every path, every atomic write. No torch, no Prefect."""
