"""fev-bench: its energy tasks, forecast by Gatecast's public command (docs/league.md)."""
