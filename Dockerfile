# hsd's image, for docker (BuildKit), buildah and podman; nothing below needs a GPU.
# Built by `make image`; what each step does stands in containers/install.sh.
#
# BASE_IMAGE: any Debian or Ubuntu. The torch wheels bring their own CUDA, so the default has none;
# nvidia/cuda:*-base-ubuntu24.04 works too. A release names it by digest.
ARG BASE_IMAGE=docker.io/library/python:3.11-slim-bookworm

FROM ${BASE_IMAGE} AS base
RUN --mount=type=bind,source=containers/install.sh,target=/install.sh \
    sh /install.sh base && sh /install.sh places

# ---- the locked packages: the big layer, which changes with the lock alone -----------------------
FROM base AS dependencies
# The name of a lock in containers/locks.
ARG VARIANT=cuda130
# Further options for pip, such as "--extra-index-url https://download.pytorch.org/whl/cpu".
ARG PIP_EXTRA_ARGS=""
# The secrets let a build pass a proxy; absent ones are no error, and nothing of them stays.
RUN --mount=type=bind,source=containers/install.sh,target=/install.sh \
    --mount=type=bind,source=containers/locks,target=/locks \
    --mount=type=bind,source=containers/wheels,target=/wheels \
    --mount=type=secret,id=pip_conf,target=/etc/pip.conf \
    --mount=type=secret,id=ca_bundle,target=/run/secrets/ca_bundle \
    PIP_EXTRA_ARGS="${PIP_EXTRA_ARGS}" sh /install.sh dependencies "/locks/${VARIANT}.txt"

# ---- hsd itself, as a wheel ----------------------------------------------------------------------
FROM dependencies AS build
WORKDIR /src
COPY pyproject.toml README.md LICENSE ./
COPY hsd/ hsd/
COPY jobs/ jobs/
COPY slurm/ slurm/
COPY containers/ containers/
RUN sh containers/install.sh wheel . /dist

# ---- what is shipped: the packages as they are (a copy would be a second layer of their size) ------
FROM dependencies AS runtime
ARG HSD_PARTIAL=0
RUN --mount=type=bind,source=containers/install.sh,target=/install.sh \
    --mount=type=bind,from=build,source=/dist,target=/dist \
    HSD_PARTIAL="${HSD_PARTIAL}" sh /install.sh package /dist
# No HOME and no HF_HOME: they would hide the user's own where the root is read-only.
ENV PATH=/opt/hsd/bin:$PATH \
    PYTHONUNBUFFERED=1 \
    PYTHONDONTWRITEBYTECODE=1 \
    PYTHONNOUSERSITE=1 \
    NVIDIA_VISIBLE_DEVICES=all \
    NVIDIA_DRIVER_CAPABILITIES=compute,utility
USER 10001:10001
WORKDIR /workspace
ENTRYPOINT ["/usr/local/bin/hsd"]
CMD ["--help"]
# Last: they change with every commit and must not rebuild what stands above.
ARG VERSION=0.0.0
ARG REVISION=unknown
ARG CREATED=1970-01-01T00:00:00Z
LABEL org.opencontainers.image.title="hsd" \
      org.opencontainers.image.licenses="Apache-2.0" \
      org.opencontainers.image.version="${VERSION}" \
      org.opencontainers.image.revision="${REVISION}" \
      org.opencontainers.image.created="${CREATED}"
