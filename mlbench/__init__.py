"""Latency-bounded throughput benchmark for ML inference."""

__version__ = "0.1.0"
