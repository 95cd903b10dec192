"""What `faust -A app worker` needs, nothing more."""

from cj_stream.app import app

__all__ = ["app"]
