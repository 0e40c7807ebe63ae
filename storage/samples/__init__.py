"""The embedded sample: real load and market data, and the script that built it."""
