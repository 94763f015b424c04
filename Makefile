# Tollgate. The commands are `make run`, `make test`, `make bench`, `make lint`, `make install`, `make deb`; see README.md.
VERSION := 0.9.0
BUILD ?= build
CC ?= gcc
MODE ?= release

PACKAGES := libpq json-c libsodium libxxhash talloc libctemplate libcurl
WARN := -Wall -Wextra -Werror -Wshadow -Wstrict-prototypes -Wmissing-prototypes -Wformat=2 -Wvla -Wpointer-arith -Wcast-qual
CFLAGS_release := -O2 -g -D_FORTIFY_SOURCE=2 -fstack-protector-strong -fPIE -fstack-clash-protection
# Control-flow protection where the processor and the compiler have it: x86 with gcc or clang.
CFLAGS_release += $(shell printf 'int main(void){return 0;}' | $(CC) -fcf-protection -Werror -xc -c -o /dev/null - 2>/dev/null && echo -fcf-protection)
CFLAGS_test := -O1 -g -fsanitize=address,undefined -fno-sanitize-recover=all -fno-omit-frame-pointer -DTOLLGATE_TEST
CFLAGS_fuzz-objects := $(CFLAGS_test) -fsanitize=fuzzer-no-link
LDFLAGS_release := -pie -Wl,-z,relro,-z,now,-z,noexecstack
LDFLAGS_test := -fsanitize=address,undefined
# The SQL that the programs are built for (lib/store/schema_version.h): the checksum that `tollgate migrate` records.
SQL_FILES := $(sort $(wildcard sql/schema/*.sql)) $(sort $(wildcard sql/functions/*.sql))
SQL_CHECKSUM := $(shell cat $(SQL_FILES) | b2sum -l 128 | cut -c1-32)
COMMON := -std=gnu11 -I. -D_GNU_SOURCE -DTOLLGATE_VERSION='"$(VERSION)"' -DTOLLGATE_SQL='"$(SQL_CHECKSUM)"' $(shell pkg-config --cflags $(PACKAGES) 2>/dev/null) -isystem /usr/include/postgresql
O := $(BUILD)/$(MODE)

LIBS := base meter web store intake remote
lib_sources = $(wildcard lib/$(1)/*.c lib/$(1)/*/*.c)
cxx_sources = $(wildcard lib/$(1)/*.cc)
objects = $(patsubst %.c,$(O)/%.o,$(call lib_sources,$(1))) $(patsubst %.cc,$(O)/%.o,$(call cxx_sources,$(1)))
$(foreach l,$(LIBS),$(eval OBJ_$(l) := $(call objects,$(l))))

PROGRAMS := tollgate-gate tollgate-web tollgate-collector tollgate
SRC_tollgate-gate := $(wildcard cgi/gate/*.c)
SRC_tollgate-web := $(wildcard cgi/web/*.c)
SRC_tollgate-collector := $(wildcard collector/*.c)
SRC_tollgate := $(wildcard cli/*.c)
BASE_LIBS := -lsodium -lxxhash
LIBS_tollgate-gate := $(BASE_LIBS) -lfcgi
LIBS_tollgate-web := $(BASE_LIBS) -lfcgi -ltalloc -ljson-c -lpq -lctemplate -lstdc++ -lpthread -lm
LIBS_tollgate-collector := $(BASE_LIBS) -ljson-c -lpq
LIBS_tollgate := $(BASE_LIBS) -lcurl -ltalloc -ljson-c -lpq -lctemplate -lstdc++ -lpthread -lm
USES_tollgate-gate := meter base
USES_tollgate-web := web store remote meter base
USES_tollgate-collector := intake store remote meter base
USES_tollgate := web intake store remote meter base

archive = $(foreach l,$(1),$(if $(OBJ_$(l)),$(O)/lib$(l).a))

.PHONY: all clean unit
all: $(foreach p,$(PROGRAMS),$(if $(SRC_$(p)),$(O)/$(p)))

define program
$(O)/$(1): $(patsubst %.c,$(O)/%.o,$(SRC_$(1))) $(call archive,$(USES_$(1)))
	$(CC) $(LDFLAGS_$(MODE)) -o $$@ $$^ $(LIBS_$(1))
endef
$(foreach p,$(PROGRAMS),$(eval $(call program,$(p))))

define library
$(O)/lib$(1).a: $(OBJ_$(1))
	rm -f $$@ && $(AR) rcs $$@ $$^
endef
$(foreach l,$(LIBS),$(eval $(call library,$(l))))

$(O)/lib/store/schema_version.o: $(SQL_FILES)
$(O)/lib/base/password_common.o: lib/base/password_common.txt
$(O)/%.o: %.c Makefile
	@mkdir -p $(@D)
	$(CC) $(COMMON) $(WARN) $(CFLAGS_$(MODE)) -MMD -MP -c -o $@ $<
$(O)/%.o: %.cc Makefile
	@mkdir -p $(@D)
	$(CXX) -std=c++17 -I. -Wall -Wextra -Werror $(CFLAGS_$(MODE)) -MMD -MP -c -o $@ $<

# Unit tests: tests/unit/<lib>/test_x.c for lib/<lib>/x.c, each a program, under ASan and UBSan.
UNIT := $(wildcard tests/unit/*/test_*.c)
UNIT_PROGRAMS := $(patsubst tests/unit/%.c,$(BUILD)/test/unit/%,$(UNIT))
$(UNIT_PROGRAMS): $(BUILD)/test/unit/%: tests/unit/%.c FORCE
	@$(MAKE) --no-print-directory MODE=test $(foreach l,$(LIBS),$(if $(OBJ_$(l)),$(BUILD)/test/lib$(l).a))
	@mkdir -p $(@D)
	$(CC) $(COMMON) $(WARN) $(CFLAGS_test) -o $@ $< -Wl,--start-group $(foreach l,$(LIBS),$(if $(OBJ_$(l)),$(BUILD)/test/lib$(l).a)) -Wl,--end-group -lcunit $(BASE_LIBS) -ltalloc -ljson-c -lpq -lfcgi -lctemplate -lstdc++ -lpthread -lm
# Fault tests in C: under the sanitizers, too.
$(BUILD)/test/fault/%: tests/fault/%.c FORCE
	@$(MAKE) --no-print-directory MODE=test $(foreach l,base meter,$(BUILD)/test/lib$(l).a)
	@mkdir -p $(@D)
	$(CC) $(COMMON) $(WARN) $(CFLAGS_test) -o $@ $< $(foreach l,meter base,$(BUILD)/test/lib$(l).a) $(BASE_LIBS)
# Fuzz targets need clang's libFuzzer, which wants to see every branch of what it calls; tests/fuzz/run.sh.
FUZZ_LIBS := $(foreach l,web meter base,$(BUILD)/fuzz-objects/lib$(l).a)
.PHONY: fuzz-libs
fuzz-libs:
	@$(MAKE) --no-print-directory -s MODE=fuzz-objects CC=clang CXX=clang++ $(FUZZ_LIBS)
$(BUILD)/test/fuzz/%: tests/fuzz/%.c fuzz-libs FORCE
	@mkdir -p $(@D)
	clang $(COMMON) $(WARN) $(CFLAGS_test) -fsanitize=fuzzer -o $@ $< -Wl,--start-group $(FUZZ_LIBS) -Wl,--end-group $(BASE_LIBS) -ltalloc -ljson-c -lfcgi
$(O)/tools/failcall.so: tests/fault/failcall.c
	@mkdir -p $(@D)
	$(CC) -std=gnu11 -D_GNU_SOURCE -isystem /usr/include/postgresql $(WARN) -O2 -g -fPIC -shared -o $@ $< -ldl
# Programs that only tests and benchmarks run.
TOOLS := $(patsubst tests/tools/%.c,$(O)/tools/%,$(wildcard tests/tools/*.c))
$(TOOLS): $(O)/tools/%: tests/tools/%.c $(call archive,meter base)
	@mkdir -p $(@D)
	$(CC) $(COMMON) $(WARN) $(CFLAGS_$(MODE)) $(LDFLAGS_$(MODE)) -o $@ $< $(call archive,meter base) $(BASE_LIBS) -lfcgi
.PHONY: tools
tools: $(TOOLS)

# The simulation: spool and collector against a disk and a database in memory (docs/spool.md, "Simulation").
SIMULATION := $(patsubst %.c,$(O)/%.o,$(wildcard tests/fault/simulation/*.c) collector/import.c $(wildcard lib/intake/*.c))
SIMULATED := open mkostemp close pread pwrite read write lseek fstat ftruncate fallocate fdatasync fsync fchmod flock link unlink rename \
	opendir readdir rewinddir closedir mkdir stat getpid random malloc calloc realloc free clock_wall_us clock_mono_us log_write \
	randombytes_uniform json_tokener_new_ex json_tokener_free spool_sync
$(O)/simulation: $(SIMULATION) $(call archive,meter base)
	$(CC) $(LDFLAGS_$(MODE)) $(foreach f,$(SIMULATED),-Wl,--wrap=$(f)) -o $@ $(SIMULATION) $(call archive,meter base) $(BASE_LIBS) -ljson-c
# Every interleaving of takers and a repairer of the limit table (docs/gate.md, "Exact"), on its own.
$(O)/repair_model: tests/fault/repair_model.c
	@mkdir -p $(@D)
	$(CC) $(COMMON) $(WARN) $(CFLAGS_$(MODE)) $(LDFLAGS_$(MODE)) -o $@ $< -lxxhash
.PHONY: simulation simulate
simulation: $(O)/simulation
# The short form; the long one is `make simulation && build/release/simulation 100000 --jobs 2`.
simulate: $(O)/simulation $(O)/repair_model
	@$(O)/simulation 1000 --plant && $(O)/repair_model && $(O)/simulation 2000

.PHONY: FORCE test-libs
# Before suites that link them run side by side.
test-libs:
	@$(MAKE) --no-print-directory -s MODE=test $(foreach l,$(LIBS),$(if $(OBJ_$(l)),$(BUILD)/test/lib$(l).a))
unit: $(UNIT_PROGRAMS)
	@tests/unit/run.sh $^

# Every suite that is there, in order; the last line is "N passed, N failed".
.PHONY: test lint format config
test:
	@demo/packages.sh run nginx build install test
	@$(MAKE) --no-print-directory -s all demo tools
	@tests/run.sh

# Each figure beside a baseline of the same run; docs/measurements.md.
.PHONY: bench
bench: all tools
	@bench/run.sh

# gcc's and clang's builds with warnings as errors, then the checkers.
LINT_C := $(sort $(wildcard lib/*/*.[ch] lib/*/*/*.[ch] cgi/*/*.[ch] collector/*.[ch] cli/*.[ch] tests/unit/*/*.[ch]))
lint:
	@$(MAKE) --no-print-directory CC=gcc BUILD=$(BUILD)/lint-gcc all
	@$(MAKE) --no-print-directory CC=clang BUILD=$(BUILD)/lint-clang all
	clang-format --dry-run -Werror $(LINT_C)
	@mkdir -p $(BUILD)
	printf '%s\n' $(filter lib/%.c cgi/%.c collector/%.c cli/%.c,$(LINT_C)) | \
		xargs -P "$$(nproc)" -n 4 sh -c 'clang-tidy --quiet "$$@" -- $(subst ','\'',$(COMMON)) 2>/dev/null' tidy
	cppcheck --quiet --error-exitcode=1 --enable=warning,portability --inline-suppr --suppress=missingIncludeSystem --suppressions-list=tests/checks/cppcheck.txt \
		--std=c11 -D_GNU_SOURCE -I. $(filter lib/%.c cgi/%.c collector/%.c cli/%.c,$(LINT_C))
	@BUILD=$(BUILD)/lint-gcc sh tests/checks/run.sh
	@echo "lint: clean" && echo "1 passed, 0 failed"

format:
	clang-format -i $(LINT_C)

# Writes what is generated from config.c's table; tests/checks/config_documented.sh fails when it was forgotten.
config: $(O)/tollgate
	sh tests/checks/config_documented.sh --write

# `make install` for a machine without the package; `make deb` for the package. docs/hosting.md walks through both.
PREFIX ?= /usr/local
SYSCONFDIR ?= /etc
UNITDIR ?= $(PREFIX)/lib/systemd/system
CONF := $(SYSCONFDIR)/tollgate/tollgate.conf
MAN := $(patsubst man/%.in,%,$(wildcard man/*.in))
COMPLETION := $(PREFIX)/share/bash-completion/completions/tollgate
SHARED := templates sql htdocs apache-conf lighttpd-conf nginx-conf
UNITS := $(notdir $(wildcard systemd/*.service systemd/*.socket))
# Each file of Tollgate's own below PREFIX; /etc/tollgate and /var/lib/tollgate are the administrator's.
INSTALLED := $(PREFIX)/bin/tollgate $(addprefix $(PREFIX)/sbin/,tollgate-gate tollgate-web tollgate-collector) \
	$(addprefix $(UNITDIR)/,$(UNITS)) $(PREFIX)/lib/sysusers.d/tollgate.conf $(PREFIX)/lib/tmpfiles.d/tollgate.conf \
	$(COMPLETION) \
	$(foreach m,$(MAN),$(PREFIX)/share/man/man$(lastword $(subst ., ,$(m)))/$(m))
SHARE := $(PREFIX)/share/tollgate
.PHONY: install uninstall deb man
install: all man
	install -d $(DESTDIR)$(PREFIX)/bin $(DESTDIR)$(PREFIX)/sbin $(DESTDIR)$(UNITDIR) $(DESTDIR)$(SHARE) $(DESTDIR)$(SYSCONFDIR)/tollgate
	install -m 755 $(O)/tollgate $(DESTDIR)$(PREFIX)/bin/
	install -m 755 $(O)/tollgate-gate $(O)/tollgate-web $(O)/tollgate-collector $(DESTDIR)$(PREFIX)/sbin/
	for unit in $(UNITS); do sed 's|@SBIN@|$(PREFIX)/sbin|; s|@CONF@|$(CONF)|' systemd/$$unit >$(DESTDIR)$(UNITDIR)/$$unit || exit 1; done
	cd $(DESTDIR)$(UNITDIR) && chmod 644 $(UNITS)
	install -Dm 644 systemd/tollgate.sysusers $(DESTDIR)$(PREFIX)/lib/sysusers.d/tollgate.conf
	install -Dm 644 systemd/tollgate.tmpfiles $(DESTDIR)$(PREFIX)/lib/tmpfiles.d/tollgate.conf
	install -Dm 644 cli/completion.bash $(DESTDIR)$(COMPLETION)
	for page in $(MAN); do install -Dm 644 $(O)/man/$$page $(DESTDIR)$(PREFIX)/share/man/man$${page##*.}/$$page || exit 1; done
	test -e $(DESTDIR)$(CONF) || sed $(if $(filter-out /usr,$(PREFIX)),'s|^#\(.* = \)/usr/share/tollgate|\1$(SHARE)|',-n p) \
		conf/tollgate.conf >$(DESTDIR)$(CONF)
	chmod 644 $(DESTDIR)$(CONF)
	for folder in $(SHARED); do rm -rf $(DESTDIR)$(SHARE)/$$folder && cp -R $$folder $(DESTDIR)$(SHARE)/$$folder || exit 1; done
	chmod -R u=rwX,go=rX $(DESTDIR)$(SHARE)

uninstall:
	rm -f $(addprefix $(DESTDIR),$(INSTALLED))
	rm -rf $(DESTDIR)$(SHARE)
	@echo "Left as they are: $(SYSCONFDIR)/tollgate, /var/lib/tollgate (events that are not stored yet, tenants' files) and the database."

# The package, in a copy of the source folder, so that the folder around it stays as it is: build/deb/tollgate_VERSION-1_ARCH.deb.
deb:
	@demo/packages.sh deb
	rm -rf $(BUILD)/deb && mkdir -p $(BUILD)/deb/tollgate
	tar -c --exclude=./build --exclude=./var --exclude=./.git --exclude=node_modules . | tar -xC $(BUILD)/deb/tollgate
	cd $(BUILD)/deb/tollgate && dpkg-buildpackage -b -us -uc
	@ls $(BUILD)/deb/*.deb

# The manual's pages: man/NAME.in with the programs' own tables of commands and keys in it.
man: $(patsubst %,$(O)/man/%,$(MAN))
$(O)/man/%: man/%.in $(O)/tollgate man/fill.sh Makefile
	@mkdir -p $(@D)
	sh man/fill.sh $< $(O)/tollgate $(VERSION) >$@.new && mv $@.new $@

.PHONY: run demo
run:
	@exec demo/run.sh
demo: $(O)/echo
$(O)/echo: $(O)/demo/echo.o $(O)/libbase.a
	$(CC) $(LDFLAGS_$(MODE)) -o $@ $^ -lfcgi -ljson-c

clean:
	rm -rf $(BUILD)

-include $(shell find $(O) -name '*.d' 2>/dev/null)
