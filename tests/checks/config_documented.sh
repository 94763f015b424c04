#!/bin/sh
# config_documented.sh [--write]: docs/configuration.md and conf/tollgate.conf say what config.c's table says; --write
# brings them up to date.
tollgate=${BUILD:-build}/release/tollgate
doc=docs/configuration.md sample=conf/tollgate.conf
begin='<!-- keys: written by `make config` -->'
[ -x "$tollgate" ] || { echo "config_documented: $tollgate is not built"; exit 1; }
work=$(mktemp -d) || exit 1
trap 'rm -rf "$work"' EXIT

{ sed "/^$begin\$/q" "$doc"; "$tollgate" config; } >"$work/doc"
"$tollgate" config --sample >"$work/sample"
if [ "$1" = --write ]; then
    cp "$work/doc" "$doc" && cp "$work/sample" "$sample"
    exit
fi
diff -u "$doc" "$work/doc" && diff -u "$sample" "$work/sample" && echo "config_documented: clean" && exit 0
echo "config_documented: run make config"
exit 1
