"""Evaluation of forecasts: scores, aggregates, alerts, comparison and promotion."""
