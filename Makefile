# What there is to do with Martlet. `make run` is all that a newcomer needs.

SWIFT ?= swift
PREFIX ?= /usr/local
SYSCONFDIR ?= /etc
# Seconds that each fuzz target runs.
FUZZ_SECONDS ?= 60

PROGRAMS = martlet martlet-router martlet-listener martlet-authworker
RELEASE = .build/release

.PHONY: run deps build test fuzz clean install uninstall

# Installs what is missing, builds, and runs everything in var/ until Ctrl-C. REDIS_URL=redis://host:port uses a Redis of
# yours, MARTLET_PORT=8884 another port.
run: build
	$(RELEASE)/martlet run --quick-start var

# The Debian packages that are missing, through sudo when not root.
deps:
	@scripts/deps

# The four programs in .build/release; the Swift runtime is linked into them.
build: deps
	$(SWIFT) build -c release --static-swift-stdlib

# All that CI runs: format, warnings as errors, all tests.
test: deps
	scripts/check

# The fuzz targets, each for FUZZ_SECONDS.
fuzz: deps
	scripts/fuzz $(FUZZ_SECONDS)

# Builds anew next time. What the quick start keeps in var/ stays.
clean:
	rm -rf .build .build-fuzz

# The programs, and the documented configuration as an example. DESTDIR is put in front of all paths.
install:
	@for program in $(PROGRAMS); do \
	    test -x $(RELEASE)/$$program || { echo "$$program is not built; run make build first" >&2; exit 1; }; \
	done
	install -d $(DESTDIR)$(PREFIX)/bin $(DESTDIR)$(SYSCONFDIR)/martlet
	install -m 0755 $(addprefix $(RELEASE)/,$(PROGRAMS)) $(DESTDIR)$(PREFIX)/bin
	install -m 0644 deploy/martlet.yaml $(DESTDIR)$(SYSCONFDIR)/martlet/martlet.yaml.example

# Leaves the configuration alone.
uninstall:
	rm -f $(addprefix $(DESTDIR)$(PREFIX)/bin/,$(PROGRAMS)) $(DESTDIR)$(SYSCONFDIR)/martlet/martlet.yaml.example
