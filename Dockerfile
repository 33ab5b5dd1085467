# syntax=docker/dockerfile:1

# Runs on the platform of the build machine and cross-compiles for the target platform.
FROM --platform=$BUILDPLATFORM denoland/deno:2.9.6 AS build
WORKDIR /src
COPY deno.json deno.lock main.ts ./
COPY lib lib
COPY tools/compile.ts tools/deps.ts tools/start_flags.ts tools/
COPY tools/stand_in tools/stand_in
# Set by BuildKit. A default here would win over the platform of the image.
ARG TARGETARCH
# Commit of the source; the build has no .git.
ARG REVISION=unknown
RUN --mount=type=cache,target=/deno-dir \
    case "$TARGETARCH" in \
      amd64) target=x86_64-unknown-linux-gnu ;; \
      arm64) target=aarch64-unknown-linux-gnu ;; \
      *) echo "No executable for $TARGETARCH: amd64 and arm64 are supported" >&2; exit 1 ;; \
    esac && \
    deno task compile --target="$target" --commit="$REVISION" --output=ollama-exporter

# glibc and certificates, no shell, no package manager.
FROM gcr.io/distroless/cc-debian12:nonroot
ARG VERSION=unknown
ARG REVISION=unknown
ARG SOURCE=""
LABEL org.opencontainers.image.title="ollama-exporter" \
      org.opencontainers.image.description="Transparent proxy in front of Ollama that turns its traffic into Prometheus metrics" \
      org.opencontainers.image.licenses="MIT" \
      org.opencontainers.image.version="$VERSION" \
      org.opencontainers.image.revision="$REVISION" \
      org.opencontainers.image.source="$SOURCE"
COPY --from=build /src/ollama-exporter /usr/local/bin/ollama-exporter
# A log_config.yaml can be mounted here. Nothing is written: the root file system can be read-only.
WORKDIR /app
# Numeric, for the runAsNonRoot check of Kubernetes.
USER 65532:65532
EXPOSE 8000
# Each check starts the program. Until the first success within the start period, it is checked more often.
HEALTHCHECK --interval=30s --timeout=10s --start-period=30s --start-interval=2s --retries=3 CMD ["/usr/local/bin/ollama-exporter", "health"]
ENTRYPOINT ["/usr/local/bin/ollama-exporter"]
