# One image for every part: docker build -t tickcast:dev . && docker run --rm tickcast:dev doctor
# The extra `local` (the embedded store) stays out: in a cluster the store is a ClickHouse server.
ARG PYTHON=3.12

FROM python:${PYTHON}-slim-bookworm AS build
# tulipy comes as source.
RUN apt-get update \
    && apt-get install --yes --no-install-recommends gcc libc6-dev \
    && rm -rf /var/lib/apt/lists/*
# For pip and what builds need; the locked files come from the addresses in the lock.
ARG PIP_INDEX_URL
RUN python -m pip install --no-cache-dir --disable-pip-version-check 'uv>=0.13,<0.14'
ENV UV_PROJECT_ENVIRONMENT=/app/.venv \
    UV_PYTHON_DOWNLOADS=never \
    UV_LINK_MODE=copy \
    UV_COMPILE_BYTECODE=1 \
    UV_NO_CACHE=1
WORKDIR /app
# Packages before sources: this layer changes with the lock only. The lock is committed without hosts.
COPY pyproject.toml uv.lock ./
COPY .ci/lockhosts.py .ci/
RUN python .ci/lockhosts.py fill uv.lock \
    && uv sync --frozen --no-dev --extra ml --no-install-project
COPY README.md LICENSE ./
COPY redpanda redpanda
COPY tables tables
COPY ml ml
COPY agents agents
COPY api api
COPY app app
RUN uv sync --frozen --no-dev --extra ml --no-editable

FROM python:${PYTHON}-slim-bookworm
RUN groupadd --gid 10001 tickcast \
    && useradd --uid 10001 --gid 10001 --no-create-home --home-dir /tmp --shell /usr/sbin/nologin tickcast \
    && install --directory --owner=10001 --group=10001 /data
COPY --from=build /app/.venv /app/.venv
ENV PATH=/app/.venv/bin:$PATH \
    HOME=/tmp \
    PYTHONUNBUFFERED=1 \
    TICKCAST_HOME=/data
WORKDIR /data
USER 10001:10001
ENTRYPOINT ["tickcast"]
CMD ["--help"]
