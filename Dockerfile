# The workers of a Dataflow job: Beam's boot program, the locked environment, CUDA libraries, this project.
# Built by cloudbuild.yaml, or by
#   docker build --target worker --tag REGION-docker.pkg.dev/PROJECT/gansynth-beam/worker:0.1.0-py312 .
# For jobs without GPUs, without the CUDA libraries:
#   docker build --target worker --build-arg LOCK=render --tag REGION-docker.pkg.dev/PROJECT/gansynth-beam/worker-cpu:0.1.0-py312 .
# PYTHON must be that of the machine that submits: what Beam pickles goes from one Python to the same one only.
# and the launcher of the Flex Template, which needs no GPU:
#   docker build --target launcher --build-arg LOCK=render --tag REGION-docker.pkg.dev/PROJECT/gansynth-beam/launcher:0.1.0-py312 .
ARG PYTHON=3.12
ARG BEAM=2.77.0
ARG LAUNCHER=gcr.io/dataflow-templates-base/python312-template-launcher-base
FROM apache/beam_python${PYTHON}_sdk:${BEAM} AS beam
FROM ${LAUNCHER} AS template

FROM python:${PYTHON}-slim-bookworm AS worker
ARG LOCK=gpu
# libsndfile is in soundfile's wheel, CUDA in TensorFlow's; the driver is mounted by Dataflow below /usr/local/nvidia.
ENV PATH=/opt/venv/bin:/usr/local/nvidia/bin:$PATH \
    LD_LIBRARY_PATH=/usr/local/nvidia/lib64 \
    PYTHONDONTWRITEBYTECODE=1 \
    PIP_NO_CACHE_DIR=1 \
    RUN_PYTHON_SDK_IN_DEFAULT_ENVIRONMENT=1
COPY --from=beam /opt/apache/beam /opt/apache/beam
RUN useradd --create-home --uid 1000 worker && install --directory --owner worker --group worker /opt/venv

# The environment is the worker's own, so that boot can add what --extra_package and --setup_file bring.
USER worker
WORKDIR /home/worker
COPY requirements/gpu.txt requirements/render.txt /tmp/
RUN python -m venv /opt/venv && pip install --no-deps --require-hashes --requirement /tmp/${LOCK}.txt

COPY --chown=worker setup.py pyproject.toml LICENSE README.md project/
COPY --chown=worker gansynth project/gansynth
COPY --chown=worker transforms project/transforms
COPY --chown=worker pipeline project/pipeline
RUN pip install --no-deps --no-build-isolation ./project && rm -rf project \
    && python -c "import gansynth; gansynth.Synthesizer.from_checkpoint('mini', device='cpu').check()"

# Not yet: docker-entrypoint.sh says why, and becomes the worker.
USER root
COPY docker-entrypoint.sh /opt/docker-entrypoint.sh
ENTRYPOINT ["/opt/docker-entrypoint.sh"]

FROM worker AS launcher
COPY --from=template /opt/google/dataflow/python_template_launcher /opt/google/dataflow/python_template_launcher
COPY templates/launch.py configs/dataflow.yaml /template/
ENV FLEX_TEMPLATE_PYTHON_PY_FILE=/template/launch.py
ENTRYPOINT ["/opt/google/dataflow/python_template_launcher"]
