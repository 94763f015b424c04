#!/bin/sh
# run.sh [SECONDS [TARGET…]]: each fuzz target for so long, JOBS of them (2) at a time, under ASan and UBSan; the inputs that
# taught it something stay in build/fuzz/. What fails is left in build/fuzz/TARGET-*; run the target with that file to see it
# again. A target that tried fewer than LEAST inputs (3 a second) has shown nothing and fails, too.
cd "$(dirname "$0")/../.." || exit 1
build=${BUILD:-build} seconds=${1:-60} passed=0 failed=0
corpora=${CORPUS:-$build/fuzz} jobs=${JOBS:-2} least=${LEAST:-$((seconds * 3))}
[ $# -eq 0 ] || shift
# shellcheck disable=SC2046 # words
[ $# -gt 0 ] || set -- $(find tests/fuzz -name "*.c" -exec basename {} .c \; | sort)
export ASAN_OPTIONS="quarantine_size_mb=8${ASAN_OPTIONS:+:$ASAN_OPTIONS}"

# A sound record but for its checksum, which the targets put in; a segment has three of them behind its header.
record() {
    printf 'TGR1\110\0\0\0'
    head -c 40 /dev/zero
    printf '\2\0\3\0\1\0\0\0\2\0\0\0\1\0\0\0t1apis{}'
}
# seed TARGET FORMAT…: what a target begins with: each FORMAT is printf's.
seed() {
    target=$1 n=0
    shift
    for format in "$@"; do
        # shellcheck disable=SC2059 # it is a format
        printf "$format" >"$corpora/$target/seed$n"
        n=$((n + 1))
    done
}
for name in "$@"; do mkdir -p "$corpora/$name"; done
for name in "$@"; do
    case $name in
    event) record >"$corpora/event/seed" ;;
    spool_reader) for what in 003 037; do
        { printf "\\$what\\12" && head -c 64 /dev/zero && record && record && record; } >"$corpora/spool_reader/seed$what"
    done ;;
    address) seed address '/api/orders/17;%%2e%%2E/./x?y\n/api\n/api/files\n/tollgate/api\n/usage\n' 'http://h/api//%%c3%%a4/../b\n/\n/free\n/api\n/pages\n' ;;
    apikey) seed apikey '\nBearer tg_abcdefgh_0123456789012345678901234567890123456789012\n' '\nBasic dGdfYWJjZGVmZ2hfMDE6eA==\n' 'X-API-Key\ntg_abc\n' ;;
    json) seed json '{"a":[1,-2.5e-3,true,null,"x\\\\u00e9"],"b":{}}' '[[[[]]],{"\\\\ud83d\\\\ude00":0.000001}]' '1000000000000.000001' ;;
    router) seed router '\1/tenant/a~2Fb' '\1/api/tenant/17/check' '\2/api/tenant/x/y' ;;
    config) seed config '[gate]\nprefix = /api, /v2\nkey_header = X-API-Key\n[rules]\nPOST /api/files = file_upload\n[backends]\n/api/orders = http://127.0.0.1:9000\n' '[web]\r\napi_prefix=/t\nevents_max = 17\n# x\n' ;;
    request) seed request 'REQUEST_METHOD=POST\nREQUEST_URI=/sign-in?next=%%2Ftenants&a=1\nCONTENT_TYPE=application/x-www-form-urlencoded\nHTTP_COOKIE=a=b; tollgate=c\nREMOTE_ADDR=192.0.2.1\nHTTP_X_FORWARDED_FOR=10.0.0.1, 2001:db8::7\nCONTENT_LENGTH=9\n\na=%%c3%%a4&b' ;;
    event_input) seed event_input '\0\n[{"tenant_id":"t1","metric_type":"file_upload","metric_value":0.5,"recorded_at":"2027-01-15T08:00:00Z","metadata":{"k":[1]},"id":"7"}]' \
        '\11\n{"metric_type":"file_upload"}\n\n{"id":"1","metric_type":"file_upload"}\n' \
        '\2\n{"specversion":"1.0","id":"1","source":"/s","type":"file_upload","subject":"t1","time":"2027-01-15T08:00:00Z","data":{"value":3,"a":"b"}}' \
        '\3\n[{"specversion":"1.0","id":"1","source":"/s","type":"file_upload","subject":"t1"}]' \
        '\0HTTP_CE_SPECVERSION=1.0\nHTTP_CE_ID=%%41\nHTTP_CE_SOURCE=s\nHTTP_CE_TYPE=file_upload\nHTTP_CE_SUBJECT=t1\n\n{"value":2}' ;;
    esac
done

fuzz() { # fuzz TARGET
    corpus=$corpora/$1 dict=
    [ -x "$build/test/fuzz/$1" ] || return 0 # its log says why it was not built
    [ ! -e "tests/fuzz/$1.dict" ] || dict=-dict=tests/fuzz/$1.dict
    nice -n "${NICE:-10}" "$build/test/fuzz/$1" -max_total_time="$seconds" -max_len=8192 -len_control=20 -timeout=20 -rss_limit_mb=1024 \
        ${dict:+"$dict"} -print_final_stats=1 -artifact_prefix="$corpus-" "$corpus" >"$corpus.log" 2>&1
    echo $? >"$corpus.status"
}
run() { # run TARGET…: one after another
    for one in "$@"; do fuzz "$one"; done
}

rm -f "$corpora"/*.status
for name in "$@"; do make --no-print-directory -s "$build/test/fuzz/$name" >"$corpora/$name.log" 2>&1 || rm -f "$build/test/fuzz/$name"; done
# The targets in turn to each of the jobs.
job=0
while [ "$job" -lt "$jobs" ]; do
    i=0 mine=
    for name in "$@"; do
        [ $((i % jobs)) -ne "$job" ] || mine="$mine $name"
        i=$((i + 1))
    done
    # shellcheck disable=SC2086 # words
    run $mine &
    job=$((job + 1))
done
wait

for name in "$@"; do
    log=$corpora/$name.log
    inputs=$(awk '/number_of_executed_units/ { print $2 }' "$log")
    places=$(awk '/ cov: / { for (i = 1; i < NF; i++) if ($i == "cov:") c = $(i + 1) } END { print c + 0 }' "$log")
    echo "fuzz: $name: ${inputs:-0} inputs, $places places of the code reached"
    if [ "$(cat "$corpora/$name.status" 2>/dev/null)" != 0 ]; then
        tail -30 "$log"
        echo "not ok: fuzz: $name failed, see $log"
        failed=$((failed + 1))
    elif [ "${inputs:-0}" -lt "$least" ]; then
        echo "not ok: fuzz: $name tried fewer than $least inputs"
        failed=$((failed + 1))
    else
        passed=$((passed + 1))
    fi
done
echo "$passed passed, $failed failed"
[ "$failed" -eq 0 ]
