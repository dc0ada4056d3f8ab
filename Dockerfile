# One image for every process; the command says which: `mailsluice up`, gateway, api, worker, feedback, …
# docker build -t mailsluice .   (docker-compose.yml shows how they fit together)
# Functions of rules in JavaScript need Node.js in the workers' image: docker build --build-arg NODE=nodejs -t mailsluice .
FROM python:3.13-slim AS build
WORKDIR /src
COPY requirements.lock ./
# The lock pins every package with its hash; the project itself comes from this folder.
RUN python -m venv /opt/mailsluice \
 && /opt/mailsluice/bin/pip install --no-cache-dir --disable-pip-version-check --require-hashes -r requirements.lock
COPY pyproject.toml README.md ./
COPY config config
COPY spool spool
COPY sending_events sending_events
COPY smtp_gateway smtp_gateway
COPY aws_api aws_api
COPY worker worker
COPY simulator simulator
COPY mailsluice mailsluice
RUN /opt/mailsluice/bin/pip install --no-cache-dir --disable-pip-version-check --no-deps .

FROM python:3.13-slim
# Empty, or the package that brings Node.js.
ARG NODE=""
RUN if [ -n "$NODE" ]; then \
      apt-get update && apt-get install -y --no-install-recommends "$NODE" && rm -rf /var/lib/apt/lists/*; \
    fi
COPY --from=build /opt/mailsluice /opt/mailsluice
# The data dir belongs to the user before a volume is mounted there: a new volume takes that over.
RUN useradd --uid 10001 --home-dir /var/lib/mailsluice --no-create-home --shell /usr/sbin/nologin mailsluice \
 && install -d -m 0700 -o mailsluice -g mailsluice /var/lib/mailsluice
ENV PATH=/opt/mailsluice/bin:$PATH \
    PYTHONUNBUFFERED=1 \
    SLUICE_DATA_DIR=/var/lib/mailsluice \
    SLUICE_LOG_FORMAT=json \
    SLUICE_SMTP_HOST=0.0.0.0 \
    SLUICE_API_HOST=0.0.0.0 \
    SLUICE_SIMULATOR_HOST=0.0.0.0 \
    SLUICE_FLOWER_HOST=0.0.0.0
WORKDIR /var/lib/mailsluice
USER mailsluice
EXPOSE 2525 2580 2581 5555
# For `mailsluice up` and `mailsluice api`; every other service of docker-compose.yml has a check of its own.
HEALTHCHECK --interval=10s --timeout=5s --start-period=20s \
  CMD ["python", "-c", "import urllib.request; urllib.request.urlopen('http://127.0.0.1:2580/healthz', timeout=4)"]
# No init is needed: every process here ends on SIGTERM, and `up` collects its children.
CMD ["mailsluice", "up"]
