# syntax=docker/dockerfile:1
# The program and nothing else: it carries its certificate authorities. Releases are
# packed without Docker by hack/image.sh, to the same contents; this is for who has
# Docker and no Go. For several architectures: docker buildx build --platform
# linux/amd64,linux/arm64 .
ARG GO_VERSION=1.26.8

FROM --platform=$BUILDPLATFORM golang:${GO_VERSION}-bookworm AS build
ARG TARGETOS
ARG TARGETARCH
ARG VERSION=devel
WORKDIR /src
COPY go.mod go.sum ./
RUN --mount=type=cache,target=/go/pkg/mod go mod download
COPY . .
RUN --mount=type=cache,target=/go/pkg/mod --mount=type=cache,target=/root/.cache/go-build \
    GOOS=$TARGETOS GOARCH=$TARGETARCH make build BIN=/out/printer-relay VERSION="$VERSION"
# What a relay writes to without a volume; owned by the user below.
RUN mkdir -p /out/state

FROM scratch
COPY --from=build /out/printer-relay /usr/local/bin/printer-relay
COPY --from=build --chown=65532:65532 /out/state /var/lib/printer-relay
USER 65532:65532
ENTRYPOINT ["/usr/local/bin/printer-relay"]
