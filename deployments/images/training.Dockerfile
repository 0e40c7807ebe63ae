# The nightly image with torch: docker build -f deployments/images/training.Dockerfile -t gatecast-training .
# hadolint ignore=DL3006
FROM gatecast-nightly

USER 0
# Torch's own index has builds without CUDA, which are a tenth of the size.
RUN pip install --no-cache-dir --constraint constraints.txt --extra-index-url https://download.pytorch.org/whl/cpu \
    --editable '.[sql,kubernetes,train]'
USER 10001
CMD ["prefect", "worker", "start", "--pool", "gatecast", "--work-queue", "training"]
