"""Evaluation: scores, their aggregates, comparisons and promotion."""
