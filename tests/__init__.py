"""Tests; a package, so that the names of its parts do not clash with others."""
