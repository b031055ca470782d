# make check is what CI runs. make help lists the rest.

GOLANGCI_LINT = github.com/golangci/golangci-lint/v2/cmd/golangci-lint@v2.15.0
PROTOC_GEN_GO = google.golang.org/protobuf/cmd/protoc-gen-go@v1.36.12
PROTOC_GEN_GO_GRPC = google.golang.org/grpc/cmd/protoc-gen-go-grpc@v1.6.2
BENCHSTAT = golang.org/x/perf/cmd/benchstat@latest
FUZZTIME ?= 20000x
ROWS ?= *
ROUNDS ?= 5
SECONDS ?= 2
DATA_PLANE ?= auto
VERSION ?= $(shell git describe --tags --always --dirty 2>/dev/null || echo unknown)

.PHONY: help build check compile lint test tidy generate generated fuzz bench bench-mallocs bench-parts bench-hub chaos demo clean

help: ## this list
	@sed -n 's/^\([a-z-]*\):.*## /\1\t/p' $(MAKEFILE_LIST) | expand -t 16

build: ## framehost and the plugins as programs, in bin/
	go build -trimpath -ldflags '-X main.version=$(VERSION)' -o bin/ ./cmd/framehost ./plugins/...

check: compile lint tidy generated test ## everything that CI checks, but the fuzzing

compile: ## every package, on the systems that are supported
	go build ./...
	GOOS=darwin go vet ./...
	GOOS=windows go vet ./...

lint: ## golangci-lint: the rules are in .golangci.yml
	go run $(GOLANGCI_LINT) run ./...

test: ## all tests, with the race detector
	go test -race -shuffle=on -timeout 20m ./...

tidy: ## go.mod and go.sum are what the code needs
	go mod tidy -diff

# protoc writes its own version into the first lines; that of the machine is of no interest.
generate: ## the code that protoc writes (needs protobuf-compiler)
	GOBIN=$(CURDIR)/bin go install $(PROTOC_GEN_GO)
	GOBIN=$(CURDIR)/bin go install $(PROTOC_GEN_GO_GRPC)
	PATH="$(CURDIR)/bin:$$PATH" go generate ./codecs/codecrpc/codecpb

generated: generate ## generated code is current
	git diff --exit-code -I '^// -* *protoc  *v' -I '^//.*protoc  *v' -- codecs/codecrpc/codecpb

fuzz: ## each fuzz target for FUZZTIME executions (20000x)
	.ci/fuzz $(FUZZTIME)

# All rows take about five minutes, on a machine that should do nothing else. ROWS=ping-1 or ROWS='flood-*,ping-*' measures some;
# ROUNDS, SECONDS (a turn) and DATA_PLANE (auto, grpc, shm) say how; BENCH_FLAGS=-markdown prints the table of docs/benchmarks.md.
bench: ## framehost against the same relay with its codecs compiled in: the table of docs/benchmarks.md (five minutes)
	go run ./host/internal/relaybench -rows '$(ROWS)' -rounds $(ROUNDS) -seconds $(SECONDS) -data-plane $(DATA_PLANE) $(BENCH_FLAGS)

bench-mallocs: ## what the host allocates for a frame: nothing (a minute)
	go test -run '^$$' -bench '^BenchmarkHostMallocs$$' -benchtime 2s ./host

bench-parts: ## the Go benchmarks of each package
	go test -run '^$$' -bench . -benchmem ./...

bench-hub: ## what a hub carries of datagrams without loss, beside a loop without codecs (a minute)
	go test -run '^$$' -bench '^BenchmarkHub$$' -benchtime 1x ./host

# About four minutes on two cores. The report ends with the figures that must be 0; CHAOS_FLAGS='-seed 7 -frames 50000 -deaths 30' says how much.
chaos: ## framehost under kills, stops, reloads, drains and bad neighbors at once: not a byte may differ (minutes)
	go run ./host/internal/chaos $(CHAOS_FLAGS)

demo: ## the main job, on an embedded default
	go run ./cmd/framehost demo

clean:
	rm -rf bin
