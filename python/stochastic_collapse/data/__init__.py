"""Datasets: `files` on disk (no torch), `datasets` in memory, and `loader`, batches made on the device."""
