# A server for saved models: docker build -t fieldwise . && docker run --rm -p 8080:8080 -v "$PWD/models:/models:ro" fieldwise
# The wheel is built from this folder; versions are those of constraints.txt. Kernels are compiled here, for all processors
# of the architecture, so that a container compiles nothing when it starts.

FROM python:3.12-slim AS build
WORKDIR /source
COPY pyproject.toml README.md LICENSE constraints.txt ./
COPY src ./src
RUN python -m pip wheel --no-cache-dir --no-deps --wheel-dir /wheels .
RUN python -m venv /opt/fieldwise
RUN /opt/fieldwise/bin/python -m pip install --no-cache-dir --constraint constraints.txt "$(echo /wheels/fieldwise-*.whl)[serve]"
ENV NUMBA_CPU_NAME=generic
RUN /opt/fieldwise/bin/fieldwise doctor --compile

FROM python:3.12-slim
COPY --from=build /opt/fieldwise /opt/fieldwise
RUN useradd --create-home --uid 10001 fieldwise
USER fieldwise
ENV PATH=/opt/fieldwise/bin:$PATH NUMBA_CPU_NAME=generic
EXPOSE 8080
HEALTHCHECK CMD ["python", "-c", "import urllib.request as u; u.urlopen('http://127.0.0.1:8080/v2/health/ready')"]
ENTRYPOINT ["fieldwise", "serve"]
CMD ["/models", "--host", "0.0.0.0"]
