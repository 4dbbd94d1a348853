# make demo   the gateway at work, on loopback
# make test   what the README calls the tests
# make check  what a change must pass: vet, staticcheck, race detector, short fuzz
# make bench  our own figures; see docs/performance.md
# make bench-peers PEERS=DIR  the gateway beside other mail systems, by the scripts in DIR (needs root)
# make ablation CORPUS=DIR  does the verdict depend on where a corpus came from
# make canaries  100,000 messages that name one client each, through the redactor and through the gateway
# make mutants  the durability harnesses against code that is broken on purpose: each must notice
# make torture  the long forms of the crash and fault harnesses

GO         ?= go
FUZZTIME   ?= 5s
VERSION    ?= $(shell git describe --tags --always --dirty 2>/dev/null || echo devel)
STATICCHECK = honnef.co/go/tools/cmd/staticcheck@v0.8.2

.PHONY: build demo test check vet staticcheck race fuzz bench bench-peers canaries mutants torture ablation clean

build:
	CGO_ENABLED=0 $(GO) build -trimpath -ldflags "-X main.version=$(VERSION)" -o gateway ./cmd/gateway

demo:
	$(GO) run ./cmd/gateway demo

test:
	$(GO) test ./...

check: vet staticcheck race fuzz

vet:
	test -z "$$(gofmt -l $$(git ls-files '*.go'))"
	$(GO) vet ./...

staticcheck:
	$(GO) run $(STATICCHECK) ./...

race:
	$(GO) test -race ./...

# Every fuzz target for a moment; `make fuzz FUZZTIME=10m` for longer.
fuzz:
	@set -e; for p in $$($(GO) list ./...); do \
	  for f in $$($(GO) test -list '^Fuzz' $$p | grep '^Fuzz' || true); do \
	    echo "$$p $$f"; $(GO) test -run '^$$' -fuzz "^$$f$$" -fuzztime $(FUZZTIME) -fuzzminimizetime 1s $$p | grep -v '^fuzz: elapsed'; \
	  done; \
	done

bench:
	$(GO) run ./bench

bench-peers:
	@test -n "$(PEERS)" || { echo "usage: make bench-peers PEERS=DIR"; exit 2; }
	$(GO) run ./bench -peers $(PEERS)

canaries:
	$(GO) test ./filter/privacy -run TestCanaries -count=1 -v -canaries 100000
	$(GO) test ./cmd/gateway -run TestCanariesThroughGateway -count=1 -v -timeout 3h -canaries 100000

mutants:
	$(GO) test ./queue -run TestModelFindsMutations -count=1 -v
	MAILWEIR_REQUIRE_HARNESS=1 $(GO) test ./internal/torture -run TestMutants -count=1 -timeout 1h -v

torture:
	$(GO) test ./queue -run . -torture -timeout 24h -v
	MAILWEIR_REQUIRE_HARNESS=1 $(GO) test ./internal/torture -run . -torture -timeout 24h -v

# Does the verdict depend on where the corpus came from? CORPUS holds a folder of
# messages for each kind; see docs/learning.md.
ablation:
	@test -n "$(CORPUS)" || { echo "usage: make ablation CORPUS=DIR"; exit 2; }
	$(GO) test ./filter/rules -run TestAblation -count=1 -timeout 30m -v -ablation -learn 10 -corpus $(abspath $(CORPUS))

clean:
	rm -f gateway bench/bench
