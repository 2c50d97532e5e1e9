# Ray workers with NVIDIA GPUs. From the repository's root:
#   docker build --file infra/docker/gpu.Dockerfile --tag sluice:0.1.0-gpu .
# CUDA 13 comes with the wheels; the machine needs the NVIDIA container toolkit and a driver of version 580 or newer.
# No HEALTHCHECK: a Ray worker's health is asked where it is started (infra/kubernetes/ray-cluster.yaml).
FROM python:3.11.14-slim-bookworm AS build
ENV UV_NO_CACHE=1 VIRTUAL_ENV=/opt/venv
RUN pip install --no-cache-dir uv==0.13.9 && uv venv /opt/venv
COPY infra/docker/requirements-gpu.lock /tmp/requirements.lock
RUN uv pip install --no-deps --requirement /tmp/requirements.lock
# Apart from the dependencies, so that a change of the code is a small layer.
COPY . /tmp/sluice
RUN uv pip install --no-deps --target /opt/sluice /tmp/sluice \
    && mv /tmp/sluice/sample_data /opt/sluice/sample_data

FROM python:3.11.14-slim-bookworm
# vLLM and Triton compile kernels when they start. Debian keeps one version of a package per release, so a pinned one
# could not be installed after the next update.
# hadolint ignore=DL3008
RUN apt-get update \
    && apt-get install --yes --no-install-recommends g++ libnuma1 \
    && rm -rf /var/lib/apt/lists/* \
    && useradd --uid 1000 --create-home --shell /bin/bash sluice
COPY --from=build /opt/venv /opt/venv
COPY --from=build /opt/sluice /opt/sluice
ENV PATH=/opt/sluice/bin:/opt/venv/bin:$PATH PYTHONPATH=/opt/sluice PYTHONUNBUFFERED=1 \
    NVIDIA_VISIBLE_DEVICES=all NVIDIA_DRIVER_CAPABILITIES=compute,utility \
    RAY_USAGE_STATS_ENABLED=0 RAY_ACCEL_ENV_VAR_OVERRIDE_ON_ZERO=0 VLLM_NO_USAGE_STATS=1 DO_NOT_TRACK=1
USER 1000
WORKDIR /home/sluice
CMD ["ray", "--version"]
