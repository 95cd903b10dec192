"""Commands that run things on this machine: dev, demo, gateway, kafka."""
