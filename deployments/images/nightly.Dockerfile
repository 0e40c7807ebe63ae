# Image for nightly runs, without torch. Build it from the repository's root:
# docker build -f deployments/images/nightly.Dockerfile -t gatecast-nightly .
FROM python:3.12.11-slim-bookworm

RUN useradd --system --uid 10001 --create-home gatecast
WORKDIR /app
COPY pyproject.toml constraints.txt README.md LICENSE ./
COPY flows flows
COPY gatecast gatecast
COPY model model
COPY storage storage
COPY deployments deployments
RUN pip install --no-cache-dir --constraint constraints.txt --editable '.[sql,kubernetes]' \
    && install --directory --owner gatecast /data

ENV GATECAST_HOME=/app \
    GATECAST_PIPELINE__STORE=/data \
    PREFECT_LOGGING_SETTINGS_PATH=/app/flows/logging.yml \
    PREFECT_LOGGING_HANDLERS_CONSOLE_FORMATTER=json
USER 10001
VOLUME /data
CMD ["prefect", "worker", "start", "--pool", "gatecast", "--work-queue", "nightly"]
