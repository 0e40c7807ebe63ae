"""Deployment of Gatecast: what Prefect gets, and an installation on one machine."""
