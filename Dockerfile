# The service in a container: `docker build -t pycalc .`; the arguments are pycalc's: serve, relay, consume, migrate.
# The base is pinned by its tag; Dependabot proposes newer ones.
FROM python:3.13.14-slim-trixie AS base

FROM base AS build
SHELL ["/bin/sh", "-euxc"]
ENV PIP_NO_CACHE_DIR=1 PIP_DISABLE_PIP_VERSION_CHECK=1 PIP_ROOT_USER_ACTION=ignore
# hadolint ignore=DL3008  # strip only, and nothing of it is in the image
RUN apt-get update; apt-get install --yes --no-install-recommends binutils
RUN python -m venv /opt/pycalc
WORKDIR /src
COPY requirements/runtime.txt requirements/
RUN /opt/pycalc/bin/pip install --no-compile --require-hashes --requirement requirements/runtime.txt
COPY pyproject.toml README.md LICENSE THIRD_PARTY.md ./
COPY pycalc pycalc
COPY deploy/image deploy/image
RUN /opt/pycalc/bin/pip wheel --no-deps --no-build-isolation --wheel-dir dist .; \
    /opt/pycalc/bin/pip install --no-compile --no-deps dist/*.whl; \
    sh deploy/image/slim.sh /opt/pycalc; \
    cp deploy/image/health.py /opt/pycalc/; \
    PYTHONPYCACHEPREFIX=/opt/bytecode /opt/pycalc/bin/python deploy/image/bytecode.py; \
    install --directory --owner=10001 --group=10001 /opt/data

FROM base
ARG REVISION=unknown CREATED=1970-01-01T00:00:00Z
LABEL org.opencontainers.image.title="pycalc" \
      org.opencontainers.image.description="Exact arithmetic over HTTP" \
      org.opencontainers.image.licenses="MIT" \
      org.opencontainers.image.revision="${REVISION}" \
      org.opencontainers.image.created="${CREATED}"
COPY --from=build /opt/bytecode /opt/bytecode
COPY --from=build /opt/pycalc /opt/pycalc
COPY --from=build --chown=10001:10001 /opt/data /data
# Bytecode is made above and only read here: the file system may be read-only but for /data.
ENV PATH=/opt/pycalc/bin:$PATH \
    PYTHONPYCACHEPREFIX=/opt/bytecode PYTHONDONTWRITEBYTECODE=1 PYTHONUNBUFFERED=1 \
    PYCALC_HOST=0.0.0.0 PYCALC_DATA_DIR=/data
USER 10001:10001
VOLUME ["/data"]
EXPOSE 8080
HEALTHCHECK --interval=10s --timeout=3s --start-period=20s \
    CMD ["python", "-S", "/opt/pycalc/health.py"]
ENTRYPOINT ["pycalc"]
CMD ["serve"]
