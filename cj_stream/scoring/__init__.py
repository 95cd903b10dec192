"""Scores from paired comparisons, and which pairs to compare next.

One thread for linear algebra, unless the environment says otherwise: the matrices are small, and on a machine that is
busy the threads of OpenBLAS wait for one another (an estimate of 100 items took 5 ms with one thread and 540 ms with
two, on two cores with a load of 14). It has to be said before numpy is imported, which nothing else of ours does.
"""

from __future__ import annotations

import os

os.environ.setdefault("OPENBLAS_NUM_THREADS", "1")
