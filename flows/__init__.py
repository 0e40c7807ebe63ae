"""WHEN: the only package that knows Prefect, the clock, the environment and the command line."""
