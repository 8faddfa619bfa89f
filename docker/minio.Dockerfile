# MinIO from its source. Its community repository was archived in 2026, its last image of its own
# (September 2025) lacks later security fixes, and images have been withdrawn from registries; the
# Go module with its checksum stays. It is the version that the tests run on.
FROM golang:1.26-alpine AS build
ARG MINIO_VERSION=v0.0.0-20260212201848-7aac2a2c5b7c
RUN CGO_ENABLED=0 go install -trimpath -ldflags="-s -w" "github.com/minio/minio@${MINIO_VERSION}"

FROM alpine:3.22
LABEL org.opencontainers.image.title="minio" \
      org.opencontainers.image.licenses="AGPL-3.0-only"
COPY --from=build /go/bin/minio /usr/local/bin/minio
# A named volume takes its owner from the folder in the image.
RUN adduser -S -D -H -u 10002 minio && install -d -o 10002 -m 0700 /data
# It wants a folder for certificates.
ENV HOME=/tmp
USER 10002
VOLUME /data
EXPOSE 9000
HEALTHCHECK --interval=5s --timeout=3s --start-period=60s --retries=3 \
    CMD ["wget", "-q", "-O", "/dev/null", "http://127.0.0.1:9000/minio/health/ready"]
ENTRYPOINT ["minio"]
CMD ["server", "--quiet", "--address", ":9000", "/data"]
