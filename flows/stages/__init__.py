"""What each flow does, as plain functions without Prefect: the only place where model and storage meet."""
