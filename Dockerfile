# The two images of Fanfold: the gateway holds no processor, the worker no web framework.
#
#   docker build --target gateway --tag fanfold-gateway .
#   docker build --target worker --tag fanfold-worker .
#
# Where packages come from a mirror of your own: --build-arg PIP_INDEX_URL=... Where that
# holds a password, hand a pip.conf over as a secret, which no layer keeps:
# docker build --secret id=pip_conf,src=pip.conf ...
#
# The Python that the tests run on; another one, 3.11 or newer, is a build argument.
ARG PYTHON_IMAGE=python:3.11-slim-bookworm

FROM ${PYTHON_IMAGE} AS environment
ENV PIP_DISABLE_PIP_VERSION_CHECK=1 PIP_NO_CACHE_DIR=1 PIP_ROOT_USER_ACTION=ignore
# Without pip: it installs from outside, and is not there in what runs.
RUN python -m venv --without-pip /opt/fanfold

FROM environment AS gateway-environment
ARG PIP_INDEX_URL PIP_EXTRA_INDEX_URL PIP_TRUSTED_HOST
COPY requirements/gateway.txt /tmp/requirements.txt
RUN --mount=type=secret,id=pip_conf,target=/etc/pip.conf \
    python -m pip --python /opt/fanfold/bin/python install \
    --require-hashes --only-binary :all: -r /tmp/requirements.txt

FROM environment AS worker-environment
ARG PIP_INDEX_URL PIP_EXTRA_INDEX_URL PIP_TRUSTED_HOST
COPY requirements/worker.txt /tmp/requirements.txt
RUN --mount=type=secret,id=pip_conf,target=/etc/pip.conf \
    python -m pip --python /opt/fanfold/bin/python install \
    --require-hashes --only-binary :all: -r /tmp/requirements.txt

FROM ${PYTHON_IMAGE} AS runtime
ENV PATH=/opt/fanfold/bin:$PATH \
    PYTHONUNBUFFERED=1 \
    PYTHONDONTWRITEBYTECODE=1 \
    FANFOLD_DATA_DIR=/var/lib/fanfold \
    FANFOLD_REQUIRE_LEDGER_URL=true
RUN groupadd --system --gid 10001 fanfold \
    && useradd --system --uid 10001 --gid fanfold --home-dir /var/lib/fanfold --create-home fanfold
WORKDIR /app
COPY fanfold/__init__.py fanfold/processing.py fanfold/py.typed fanfold/
COPY contract fanfold/contract
COPY ledger fanfold/ledger
COPY intake fanfold/intake
COPY answers fanfold/answers

FROM runtime AS gateway
COPY --from=gateway-environment /opt/fanfold /opt/fanfold
COPY app fanfold/app
# The container's file system may be read-only, so byte code is written now or never.
RUN python -m compileall -q .
USER 10001
ENV FANFOLD_HTTP_HOST=0.0.0.0
EXPOSE 8000
CMD ["python", "-m", "fanfold.app.main"]

FROM runtime AS worker
COPY --from=worker-environment /opt/fanfold /opt/fanfold
# Processors may use the client too.
COPY client fanfold/client
COPY workers fanfold/workers
COPY deploy/worker_is_polling.py ./
RUN python -m compileall -q .
USER 10001
CMD ["python", "-m", "fanfold.workers.main"]
