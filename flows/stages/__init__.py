"""Stages of the flows: plain functions without Prefect, the only place where model and storage meet."""
