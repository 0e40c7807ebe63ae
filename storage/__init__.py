"""Storage: all schemas, keys and atomic writes. Nothing here imports torch or Prefect."""
