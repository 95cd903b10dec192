# A worker of cj-stream. Build: docker build -t cj-stream .
# Run one container per worker, each with a data volume of its own.
ARG PYTHON_IMAGE=python:3.11-slim-bookworm

FROM ${PYTHON_IMAGE} AS build
WORKDIR /src
RUN python -m venv /opt/venv
ENV PATH=/opt/venv/bin:$PATH PIP_NO_CACHE_DIR=1 PIP_DISABLE_PIP_VERSION_CHECK=1
# The locked requirements have a layer of their own: a change of the code does not install them again.
COPY requirements.lock ./
RUN pip install --require-hashes --requirement requirements.lock
COPY pyproject.toml README.md LICENSE NOTICE ./
COPY cj_stream ./cj_stream
RUN pip install --no-deps --no-build-isolation . && pip uninstall --yes setuptools pip

FROM ${PYTHON_IMAGE}
RUN useradd --system --uid 10001 --no-create-home --home-dir /data --shell /usr/sbin/nologin cj \
    && install --directory --owner=cj --group=cj /data
COPY --from=build /opt/venv /opt/venv
WORKDIR /app
COPY app.py LICENSE NOTICE ./
ENV PATH=/opt/venv/bin:$PATH \
    PYTHONUNBUFFERED=1 \
    CJ_DATA_DIR=/data/worker \
    CJ_LOG_FORMAT=json \
    CJ_WEB_HOST=0.0.0.0 \
    CJ_WEB_PORT=6066
USER cj
# The local database: a cache of the changelog. Kept, a worker that was stopped cleanly starts without reading it all again.
VOLUME ["/data"]
EXPOSE 6066
HEALTHCHECK --interval=10s --timeout=5s --start-period=60s --retries=3 \
    CMD ["python", "-c", "import urllib.request; urllib.request.urlopen('http://127.0.0.1:6066/healthz/live', timeout=4)"]
# A clean stop waits until everything sent is acknowledged: give it time, as in `docker stop --time 60`.
STOPSIGNAL SIGTERM
CMD ["faust", "-A", "app", "worker", "-l", "info"]
