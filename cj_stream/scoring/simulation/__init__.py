"""Simulated judges and studies with them."""
