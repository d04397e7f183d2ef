# syntax=docker/dockerfile:1
# One static binary and the system's certificate authorities, nothing else. For
# several architectures: docker buildx build --platform linux/amd64,linux/arm64 .
ARG GO_VERSION=1.26

FROM --platform=$BUILDPLATFORM golang:${GO_VERSION}-bookworm AS build
ARG TARGETOS
ARG TARGETARCH
ARG VERSION=devel
ENV CGO_ENABLED=0 GOTOOLCHAIN=local
WORKDIR /src
COPY go.mod go.sum ./
RUN --mount=type=cache,target=/go/pkg/mod go mod download
COPY . .
RUN --mount=type=cache,target=/go/pkg/mod --mount=type=cache,target=/root/.cache/go-build \
    GOOS=$TARGETOS GOARCH=$TARGETARCH go build -buildvcs=false -trimpath \
    -ldflags "-s -w -X github.com/printerrelay/printer-relay/relay/cli.version=$VERSION" \
    -o /out/printer-relay .
# What a relay writes to without a volume; owned by the user below.
RUN mkdir -p /out/state

FROM scratch
COPY --from=build /etc/ssl/certs/ca-certificates.crt /etc/ssl/certs/
COPY --from=build /out/printer-relay /usr/local/bin/printer-relay
COPY --from=build --chown=65532:65532 /out/state /var/lib/printer-relay
USER 65532:65532
ENTRYPOINT ["/usr/local/bin/printer-relay"]
