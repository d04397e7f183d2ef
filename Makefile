# Everything that a developer and CI run. `make help` lists it. Tools come from
# hack/tools/go.mod and hack/tools/*/go.mod, at the versions pinned there; Go's own
# cache, outside the checkout, keeps what is built.

SHELL := bash
.SHELLFLAGS := -euo pipefail -c
.DEFAULT_GOAL := help

export GOTOOLCHAIN := local

BIN      := bin/printer-relay
VERSION  ?= $(shell git describe --tags --always --dirty 2>/dev/null || echo devel)
LDFLAGS  := -s -w -X github.com/printerrelay/printer-relay/relay/cli.version=$(VERSION)
TOOL     := go tool -modfile=hack/tools/go.mod
LINTTOOL := go tool -modfile=hack/tools/lint/go.mod
DEPLOYTOOL := go tool -modfile=hack/tools/deploy/go.mod
RELEASETOOL := go tool -modfile=hack/tools/release/go.mod
DOCSTOOL := go tool -modfile=hack/tools/docs/go.mod

# make run
MANIFESTS ?= config/samples/standalone
STATE     ?= .state
BIND      ?= 127.0.0.1
ADMIN     ?= 127.0.0.1:8080

# make test, make fuzz, make test-crash, make test-power
TESTFLAGS   ?= -race -shuffle=on -timeout 40m
FUZZTIME    ?= 10s
FUZZ        ?=
CRASH_KILLS ?= 300
POWER_CUTS  ?= 30

# make soak: how long, and the seed of a run to repeat
SOAK      ?= 1h
SOAK_SEED ?=

# make bench-compare: a commit; where main and the checkout part, by default
BASE ?=

# make vulncheck; a copy is named as file:///DIR
VULNDB ?= https://vuln.go.dev

# make image
IMAGE ?= printer-relay:$(VERSION)

##@ Try
.PHONY: build
build: ## Build bin/printer-relay
	@[[ -e $(BIN) || $(BIN) != bin/printer-relay ]] || echo 'Building. The first time this downloads modules and then says nothing for some minutes.'
	CGO_ENABLED=0 go build -buildvcs=false -trimpath -ldflags '$(LDFLAGS)' -o $(BIN) .

.PHONY: run
run: build ## Run a relay on 127.0.0.1:2525 that writes scans to a folder
	@hack/how-to-send.sh '$(STATE)'
	@exec ./$(BIN) relay --manifests '$(MANIFESTS)' --state '$(STATE)' --bind '$(BIND)' --admin '$(ADMIN)'

##@ Test
.PHONY: test
test: test-deps control-plane ## Install and build what the tests need, and run them all
	go test $(TESTFLAGS) ./...

.PHONY: test-unit
test-unit: control-plane ## Run the tests that need nothing but Go and a C compiler
	go test $(TESTFLAGS) $$(go list ./... | grep -vE '/test/(console|differential|disk|interop|judges|mailreaders|migrate|mx|postfix|start|vendorapi)$$')

.PHONY: test-interop
test-interop: test-deps ## Run the tests with other people's mail clients and servers
	go test $(TESTFLAGS) ./test/postfix ./test/differential ./test/interop ./test/judges ./test/mailreaders ./test/migrate ./test/mx ./test/start ./test/vendorapi ./test/console

.PHONY: test-crash
test-crash: ## Kill the relay CRASH_KILLS times under load and look for lost mail
	CRASH_KILLS=$(CRASH_KILLS) go test -count=1 -timeout 60m -v ./test/crash

.PHONY: test-power
test-power: test-deps ## Cut the power of the relay's volume POWER_CUTS times on ext4 and on xfs (as root)
	POWER_CUTS=$(POWER_CUTS) go test -count=1 -timeout 60m -v -run '^TestPowerCutsLoseNothing$$' ./test/disk

.PHONY: screenshots
screenshots: test-deps ## Take the pictures of the console that README and documents show
	go test -count=1 -run '^TestScreenshots$$' ./test/console -args -screenshots '$(CURDIR)/docs/images'

.PHONY: test-deps
test-deps: ## Install the programs that the tests run (Debian packages, some from npm)
	@hack/test-deps.sh

.PHONY: e2e
e2e: build test-deps ## Install the chart in a one-node cluster and run the tutorial's story in it (as root)
	@hack/with-cluster.sh go test -tags e2e -count=1 -timeout 40m -v ./test/e2e

.PHONY: soak
soak: build ## Send scans through relays in a one-node cluster for SOAK, restart everything meanwhile, and account for all (as root)
	@SOAK='$(SOAK)' SOAK_SEED='$(SOAK_SEED)' hack/with-cluster.sh go test -tags soak -count=1 -timeout 24h -v -run '^TestSoak$$' ./test/soak

.PHONY: fuzz
fuzz: ## Run the fuzz targets named like FUZZ, every one by default, for FUZZTIME each
	@hack/fuzz.sh '$(FUZZTIME)' '$(FUZZ)'

.PHONY: control-plane
control-plane: ## Build kube-apiserver, etcd and kubectl for tests (once, some minutes; kept outside the checkout)
	@hack/cluster/build.sh kube-apiserver etcd kubectl

.PHONY: cluster
cluster: ## Bring up a one-node Kubernetes (as root; installs Debian packages, builds the rest once)
	@hack/cluster/deps.sh
	@hack/cluster/cluster.sh up

.PHONY: cluster-shell
cluster-shell: build ## Open a shell beside that cluster, in which the README's tutorial can be typed
	@hack/cluster/cluster.sh shell

.PHONY: cluster-down
cluster-down: ## End it; nothing is left
	@hack/cluster/cluster.sh down

.PHONY: bench
bench: ## Measure throughput and memory beside Postfix
	@hack/test-deps.sh opendkim=opendkim
	go test -tags bench -v -run '^TestBench$$' -count=1 -timeout 60m ./test/bench $(BENCHFLAGS)

.PHONY: bench-operator
bench-operator: build control-plane ## Measure the operator with 2,000 PrinterRelays
	go test -tags bench -v -run '^TestBenchOperator$$' -count=1 -timeout 60m ./test/benchoperator -operator '$(CURDIR)/$(BIN)' $(BENCHFLAGS)

.PHONY: bench-compare
bench-compare: ## Compare by benchstat what a message costs here and at BASE (allocations, system calls, syncs, octets)
	@hack/bench-compare.sh $(BASE)

.PHONY: api-compat
api-compat: build ## Fail if what was valid at BASE, the last release by default, is no longer
	@hack/api-compat.sh $(BIN) $(BASE)

##@ Change
.PHONY: generate
generate: ## Generate what follows from api/ (its reference too), controllers/rbac.go, the alerts and the chart's values
	$(TOOL) controller-gen object:headerFile=hack/boilerplate.go.txt paths=./api/v1alpha1
	$(TOOL) controller-gen crd paths=./api/v1alpha1 output:crd:dir=config/crd/bases
	$(TOOL) controller-gen applyconfiguration:headerFile=hack/boilerplate.go.txt paths=./api/v1alpha1
	$(TOOL) controller-gen rbac:roleName=printer-relay-operator paths=./controllers output:rbac:dir=config/rbac
	@hack/generate-api.sh docs/reference/api.md
	@hack/generate-alerts.sh config/prometheus/alerts.yaml
	@hack/generate-chart.sh charts/printer-relay

.PHONY: fmt
fmt: ## Format the code
	$(TOOL) gofumpt -l -w .

.PHONY: lint
lint: ## Run the linters, with the guard of imports
	$(LINTTOOL) golangci-lint run

.PHONY: verify
verify: ## Fail if generated files, format, go.mod or lint are not as they should be
	@hack/verify.sh

.PHONY: vulncheck
vulncheck: ## Look up known vulnerabilities in what the module calls, at VULNDB
	$(LINTTOOL) govulncheck -db '$(VULNDB)' ./...

.PHONY: install-tools
install-tools: ## Build the pinned tools into Go's cache
	$(TOOL) -n benchstat
	$(TOOL) -n controller-gen
	$(TOOL) -n gofumpt
	$(LINTTOOL) -n golangci-lint
	$(DEPLOYTOOL) -n kustomize
	$(DEPLOYTOOL) -n helm
	$(DEPLOYTOOL) -n helm-docs
	go tool -modfile=hack/tools/score/go.mod -n kube-score
	$(DOCSTOOL) -n crd-ref-docs
	$(RELEASETOOL) -n actionlint
	$(RELEASETOOL) -n crane
	$(RELEASETOOL) -n cyclonedx-gomod
	go tool -modfile=hack/tools/krew/go.mod -n krew
	go tool -modfile=hack/tools/krew/go.mod -n validate-krew-manifest
	go tool -modfile=hack/tools/oras/go.mod -n oras
	go tool -modfile=hack/tools/goreleaser/go.mod -n goreleaser
	go tool -modfile=hack/tools/compat/go.mod -n oasdiff

.PHONY: docs
docs: ## Build the site of docs/ into bin/site (needs Node.js and npm); dead links fail it
	@hack/docs.sh

.PHONY: docs-links
docs-links: ## Look up what docs/ links to on the Internet
	@hack/docs-links.sh

##@ Ship
.PHONY: image
image: build ## Pack bin/printer-relay as a container image into bin/image.tar; prints its digest
	@hack/image.sh '$(IMAGE)' bin/image.tar $(BIN)

.PHONY: sbom
sbom: build ## Write the bill of materials of bin/printer-relay (CycloneDX)
	@hack/sbom.sh $(BIN) '$(VERSION)' $(BIN).cdx.json

.PHONY: dist
dist: ## Make all that a release ships, for all systems and architectures, into dist/
	@hack/dist.sh '$(VERSION)' dist

.PHONY: reproducible
reproducible: ## Make that twice of the last commit, in different surroundings, and compare
	@hack/reproducible.sh

.PHONY: chart
chart: ## Package the Helm chart into bin/
	$(DEPLOYTOOL) helm package charts/printer-relay --destination bin

.PHONY: manifests
manifests: ## Write bin/install.yaml, which installs the operator by kubectl
	@mkdir -p bin
	$(DEPLOYTOOL) kustomize build config/default --output bin/install.yaml

.PHONY: clean
clean: ## Remove what make build and make run wrote
	rm -rf bin dist .state

.PHONY: help
help: ## Show this help
	@awk 'BEGIN {FS = ":.*## "} \
		/^##@/ {printf "\n%s\n", substr($$0, 5)} \
		/^[a-z0-9-]+:.*## / {printf "  make %-14s %s\n", $$1, $$2}' $(MAKEFILE_LIST)
