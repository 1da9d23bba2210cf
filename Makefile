# What there is to do with Martlet. `make run` is all that a newcomer needs.

SWIFT ?= swift
PREFIX ?= /usr/local
SYSCONFDIR ?= /etc
BINDIR ?= $(PREFIX)/bin
DOCDIR ?= $(PREFIX)/share/doc/martlet
MANDIR ?= $(PREFIX)/share/man
UNITDIR ?= $(PREFIX)/lib/systemd/system
SYSUSERSDIR ?= $(PREFIX)/lib/sysusers.d
TMPFILESDIR ?= $(PREFIX)/lib/tmpfiles.d
# Seconds that each fuzz target runs.
FUZZ_SECONDS ?= 60
# Of `make bench`: --seconds, --repetitions, --only, --output; see Benchmarks/compare.
BENCH_OPTIONS ?=
# Seconds that `make torture` runs.
TORTURE_SECONDS ?= 300
# New seeds of `make simulate`, which takes a seventh of a second for each.
SIMULATION_SEEDS ?= 5000

ROLES = martlet-router martlet-listener martlet-authworker
PROGRAMS = martlet $(ROLES)
RELEASE ?= .build/release
PLAIN_UNITS = martlet.target martlet-listener.socket martlet-crl-refresh.timer
MADE_UNITS = martlet-router.service martlet-listener@.service martlet-authworker@.service martlet-crl-refresh.service

.PHONY: run deps build test mutants bench check-micro torture simulate fuzz clean install uninstall deb

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

# Kills everything at random under load for TORTURE_SECONDS, and counts what clients get.
torture: deps
	MARTLET_TORTURE_SECONDS=$(TORTURE_SECONDS) $(SWIFT) test --filter TortureTests

# The whole system on a simulated kernel, with SIMULATION_SEEDS seeds that nobody has tried.
simulate: deps
	$(SWIFT) build --product simulation
	.build/debug/simulation $$(od -An -N6 -tu8 /dev/urandom) $(SIMULATION_SEEDS)

# Plants faults one after the other, and demands that tests find each; a minute for each.
mutants: deps
	scripts/mutants

# Martlet beside mosquitto on this machine: a table of CPU, rates and latencies with ratios. Installs mosquitto.
bench: build
	scripts/deps mosquitto
	Benchmarks/compare $(BENCH_OPTIONS)

# Instructions and allocations of small things, against what is committed in Benchmarks/micro.json. Installs valgrind.
check-micro: deps
	scripts/deps valgrind
	MARTLET_BENCHMARKS=1 $(SWIFT) build -c release --static-swift-stdlib --product micro
	Benchmarks/micro-check

# The fuzz targets, each for FUZZ_SECONDS.
fuzz: deps
	scripts/fuzz $(FUZZ_SECONDS)

# Builds anew next time. What the quick start keeps in var/ stays.
clean:
	rm -rf .build .build-fuzz

# The programs, the documented configuration as an example, and what systemd needs. DESTDIR is put in front of all paths.
install:
	@for program in $(PROGRAMS); do \
	    test -x $(RELEASE)/$$program || { echo "$$program is not built; run make build first" >&2; exit 1; }; \
	done
	install -d $(DESTDIR)$(BINDIR) $(DESTDIR)$(SYSCONFDIR)/martlet $(DESTDIR)$(UNITDIR) $(DESTDIR)$(SYSUSERSDIR) \
	    $(DESTDIR)$(TMPFILESDIR) $(addprefix $(DESTDIR)$(DOCDIR)/,examples deploy docs/adr docs/images) $(DESTDIR)$(MANDIR)/man1 $(DESTDIR)$(MANDIR)/man8
	install -m 0755 $(addprefix $(RELEASE)/,$(PROGRAMS)) $(DESTDIR)$(BINDIR)
	install -m 0644 deploy/martlet.yaml $(DESTDIR)$(SYSCONFDIR)/martlet/martlet.yaml.example
	install -m 0644 $(addprefix deploy/systemd/,$(PLAIN_UNITS)) $(DESTDIR)$(UNITDIR)
	for unit in $(MADE_UNITS); do \
	    sed -e 's|@bindir@|$(BINDIR)|g' -e 's|@sysconfdir@|$(SYSCONFDIR)|g' -e 's|@docdir@|$(DOCDIR)|g' \
	        deploy/systemd/$$unit.in > $(DESTDIR)$(UNITDIR)/$$unit && chmod 0644 $(DESTDIR)$(UNITDIR)/$$unit || exit 1; \
	done
	install -m 0644 deploy/systemd/martlet.sysusers $(DESTDIR)$(SYSUSERSDIR)/martlet.conf
	install -m 0644 deploy/systemd/martlet.tmpfiles $(DESTDIR)$(TMPFILESDIR)/martlet.conf
	# As in the source: the documents refer to each other.
	install -m 0644 LICENSE $(DESTDIR)$(DOCDIR)
	install -m 0644 deploy/martlet.yaml $(DESTDIR)$(DOCDIR)/deploy
	# What is not installed they name without a link.
	for document in README.md docs/*.md; do \
	    sed 's|\[\([^]]*\)\]([./]*Sources/[^)]*)|\1, in the source|g' $$document > $(DESTDIR)$(DOCDIR)/$$document && \
	        chmod 0644 $(DESTDIR)$(DOCDIR)/$$document || exit 1; \
	done
	install -m 0644 docs/adr/*.md $(DESTDIR)$(DOCDIR)/docs/adr
	install -m 0644 docs/images/* $(DESTDIR)$(DOCDIR)/docs/images
	scripts/manual $(RELEASE)/martlet 1 > $(DESTDIR)$(MANDIR)/man1/martlet.1
	for program in $(ROLES); do \
	    scripts/manual $(RELEASE)/$$program 8 > $(DESTDIR)$(MANDIR)/man8/$$program.8 || exit 1; \
	done
	chmod 0644 $(DESTDIR)$(MANDIR)/man1/martlet.1 $(patsubst %,$(DESTDIR)$(MANDIR)/man8/%.8,$(ROLES))
	install -m 0644 deploy/systemd/examples/*.conf $(DESTDIR)$(DOCDIR)/examples

# Leaves the configuration alone.
uninstall:
	rm -f $(addprefix $(DESTDIR)$(BINDIR)/,$(PROGRAMS)) $(DESTDIR)$(SYSCONFDIR)/martlet/martlet.yaml.example
	rm -f $(addprefix $(DESTDIR)$(UNITDIR)/,$(PLAIN_UNITS) $(MADE_UNITS))
	rm -f $(DESTDIR)$(SYSUSERSDIR)/martlet.conf $(DESTDIR)$(TMPFILESDIR)/martlet.conf
	rm -f $(DESTDIR)$(MANDIR)/man1/martlet.1 $(patsubst %,$(DESTDIR)$(MANDIR)/man8/%.8,$(ROLES))
	rm -rf $(DESTDIR)$(DOCDIR)

# A Debian package of what is built, in .build.
deb:
	scripts/deb
