"""The embedded sample of load and market data, and the script that builds it."""
