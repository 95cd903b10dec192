"""Carrying out what batches have to do: each kind of effect, and what it needs."""
