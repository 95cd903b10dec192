"""Which pairs to compare next."""
