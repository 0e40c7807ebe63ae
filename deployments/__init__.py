"""How Gatecast runs for real: what is deployed to Prefect, and bringing all of it up on one machine."""
