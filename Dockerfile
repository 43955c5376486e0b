# The gateway in a container: listens on 4000, keeps its store in /data. Off loopback it needs a token: GATEWAY_TOKEN.
FROM python:3.13-slim AS build
WORKDIR /src
COPY pyproject.toml README.md LICENSE ./
COPY gateway gateway
RUN python -m venv /opt/gateway && /opt/gateway/bin/pip install --no-cache-dir '.[bedrock,vertex]'

FROM python:3.13-slim
RUN useradd --create-home --uid 10001 gateway && install -d -o gateway -g gateway -m 700 /data
COPY --from=build /opt/gateway /opt/gateway
USER gateway
WORKDIR /home/gateway
ENV PATH=/opt/gateway/bin:$PATH PYTHONUNBUFFERED=1
VOLUME /data
EXPOSE 4000
HEALTHCHECK --interval=10s --timeout=3s --start-period=20s CMD \
  ["python", "-c", "import urllib.request; urllib.request.urlopen('http://127.0.0.1:4000/-/health', timeout=2)"]
# What is in flight may end before it is killed: see $.limits.drain_seconds.
STOPSIGNAL SIGTERM
ENTRYPOINT ["gateway"]
CMD ["serve", "--host", "0.0.0.0", "--port", "4000", "--data", "/data", "--workers", "auto"]
