"""Tests of the toy simulations; a package, so that they share helpers.py."""
