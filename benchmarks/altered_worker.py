"""What `faust -A altered_worker worker` needs: a worker of the service without parts of its hardening, and its faults.

`BENCH_WITHOUT` lists the parts that are taken out (see ``stock.py``), `BENCH_GATES` names the folder whose files switch
faults on (see ``faults.py``), `BENCH_FAUST` holds settings of Faust that the service does not offer, as JSON.
"""

from __future__ import annotations

import json
import os
from pathlib import Path

import faults
import stock

from cj_stream.operations.logs import configure_logs
from cj_stream.operations.settings import Settings
from cj_stream.worker import build_worker

settings = Settings()
configure_logs(settings.log_format, settings.log_level)
stock.take_out(filter(None, os.environ.get("BENCH_WITHOUT", "").split(",")))
if "BENCH_GATES" in os.environ:
    faults.inject(Path(os.environ["BENCH_GATES"]), settings)
app = stock.built(build_worker(settings)).faust
for name, value in json.loads(os.environ.get("BENCH_FAUST", "{}")).items():
    setattr(app.conf, name, value)
