FROM python:3.11-slim-bookworm AS build
WORKDIR /src
COPY requirements.lock pyproject.toml README.md LICENSE ./
# The locked dependencies first: they change less often than the code.
RUN python -m venv /opt/bench \
 && /opt/bench/bin/python -m pip install --no-cache-dir --disable-pip-version-check -r requirements.lock
COPY bench bench
COPY workloads workloads
COPY profiles profiles
RUN /opt/bench/bin/python -m pip install --no-cache-dir --disable-pip-version-check --no-deps .

FROM python:3.11-slim-bookworm
LABEL org.opencontainers.image.title="bench" \
      org.opencontainers.image.description="Load generator and judge for LLM inference endpoints" \
      org.opencontainers.image.licenses="Apache-2.0"
COPY --from=build /opt/bench /opt/bench
RUN groupadd --gid 10001 bench \
 && useradd --uid 10001 --gid 10001 --no-create-home --home-dir /tmp bench \
 && install --directory --owner=10001 --group=10001 /reports
ENV PATH=/opt/bench/bin:$PATH \
    BENCH_REPORTS=/reports \
    LANG=C.UTF-8
USER 10001:10001
WORKDIR /reports
VOLUME /reports
# The live metrics, where a run is given --metrics-port 0.0.0.0:9464.
EXPOSE 9464
ENTRYPOINT ["bench"]
CMD ["--help"]
