#!/bin/sh
# layers.sh: libraries point one way (intake -> store; web, store, remote -> meter -> base), SQL and libpq stay in lib/store and out of the gate,
# every C file says in its first line what it is.
status=0
wrong() { echo "layers: $1"; status=1; }

# allowed FOLDER LIBRARIES: includes of "lib/..." in FOLDER go to these libraries only
allowed() {
    [ -d "$1" ] || return 0
    found=$(grep -rnE '#include "(lib|cgi|collector|cli)/' "$1" --include='*.c' --include='*.h' --include='*.cc' |
        grep -vE "#include \"($2)/" || true)
    [ -z "$found" ] || wrong "$1 may include $2 only:
$found"
}
allowed lib/base 'lib/base'
allowed lib/meter 'lib/base|lib/meter'
allowed lib/web 'lib/base|lib/meter|lib/web'
allowed lib/store 'lib/base|lib/meter|lib/store'
allowed lib/intake 'lib/base|lib/meter|lib/store|lib/intake'
allowed lib/remote 'lib/base|lib/meter|lib/remote'
allowed cgi/gate 'lib/base|lib/meter|cgi/gate'
allowed cgi/web 'lib/base|lib/meter|lib/web|lib/store|lib/remote|cgi/web'
allowed collector 'lib/base|lib/meter|lib/intake|lib/store|lib/remote|collector'
allowed cli 'lib/base|lib/meter|lib/web|lib/intake|lib/store|lib/remote|cli'

found=$(grep -rnE '\bPQ[a-z][A-Za-z]+ *\(|libpq-fe\.h' lib cgi collector cli --include='*.c' --include='*.h' | grep -v '^lib/store/' || true)
[ -z "$found" ] || wrong "libpq is named outside lib/store:
$found"
# SQL stands in lib/store and sql/ alone: whoever runs statements is there, and so is their text
found=$(grep -rnE '\bdb_(query|query_found|look|run|script|copy_[a-z]+)\(|"(SELECT|INSERT INTO|UPDATE [a-z]+\.|DELETE FROM|WITH [a-z]+ AS|LOCK TABLE) ' \
    lib cgi collector cli --include='*.c' --include='*.h' | grep -v '^lib/store/' || true)
[ -z "$found" ] || wrong "SQL stands outside lib/store:
$found"
found=$(grep -rnE '<(html|div|p|table)[ >]|Content-Type' lib/store --include='*.c' || true)
[ -z "$found" ] || wrong "lib/store knows HTML or HTTP:
$found"
# not_linked PROGRAM LIBRARIES
not_linked() {
    program=${BUILD:-build}/release/$1
    if [ -x "$program" ] && readelf -d "$program" | grep NEEDED | grep -qE "$2"; then
        wrong "$program is linked with $2"
    fi
}
not_linked tollgate-gate 'libpq|libcurl|libssl'
not_linked tollgate-web libcurl
not_linked tollgate-collector libcurl
for file in $(find lib cgi collector cli -name '*.c'); do
    head -1 "$file" | grep -qE "^/\* $(basename "$file"): .* \*/$" || wrong "$file does not say in its first line what it is"
done
[ $status -eq 0 ] && echo "layers: clean"
exit $status
