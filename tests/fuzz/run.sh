#!/bin/sh
# run.sh [SECONDS]: each fuzz target for so long, under ASan and UBSan; the inputs that taught it something stay in
# build/fuzz/. What fails is left in build/fuzz/TARGET-crash-*; run the target with that file to see it again.
cd "$(dirname "$0")/../.." || exit 1
build=${BUILD:-build} seconds=${1:-60} passed=0 failed=0
export ASAN_OPTIONS="quarantine_size_mb=8${ASAN_OPTIONS:+:$ASAN_OPTIONS}"

# A sound record but for its checksum, which the targets put in; a segment has three of them behind its header.
record() {
    printf 'TGR1\110\0\0\0'
    head -c 40 /dev/zero
    printf '\2\0\3\0\1\0\0\0\2\0\0\0\1\0\0\0t1apis{}'
}
mkdir -p "$build/fuzz/event" "$build/fuzz/spool_reader"
record >"$build/fuzz/event/seed"
for what in 003 037; do
    { printf "\\$what\\12" && head -c 64 /dev/zero && record && record && record; } >"$build/fuzz/spool_reader/seed$what"
done

for source in tests/fuzz/*.c; do
    name=$(basename "$source" .c)
    corpus=$build/fuzz/$name
    mkdir -p "$corpus"
    if make --no-print-directory -s "$build/test/fuzz/$name" &&
        "$build/test/fuzz/$name" -max_total_time="$seconds" -max_len=8192 -len_control=20 -timeout=10 -dict=tests/fuzz/spool.dict \
            -print_final_stats=1 -artifact_prefix="$build/fuzz/$name-" "$corpus" >"$corpus.log" 2>&1; then
        passed=$((passed + 1))
    else
        failed=$((failed + 1))
        tail -30 "$corpus.log"
    fi
    awk -v name="$name" '/number_of_executed_units/ { n = $2 } / cov: / { for (i = 1; i < NF; i++) if ($i == "cov:") c = $(i + 1) }
        END { printf "fuzz: %s: %d inputs, %d places of the code reached\n", name, n, c }' "$corpus.log"
done
echo "$passed passed, $failed failed"
[ "$failed" -eq 0 ]
