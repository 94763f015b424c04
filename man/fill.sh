#!/bin/sh
# fill.sh PAGE.in TOLLGATE VERSION: a page of the manual with the program's own table of commands (@COMMANDS@) or keys (@KEYS@)
# and the version in it.
set -eu
page=$1 tollgate=$2 version=$3
export LC_ALL=C.UTF-8

# What a page can't hold as it is: a backslash, a hyphen that is typed. A line "@a" is set in bold.
escaped() { sed 's/\\/\\e/g; s/-/\\-/g; s/^@\(.*\)/\\fB\1\\fR/'; }

commands() {
    "$tollgate" help | awk '/^  tollgate / { sub(/^  /, ""); print ".TP"; print "@" $0; next } /^      / { sub(/^ */, ""); print }' | escaped
}
options() {
    "$tollgate" help | awk '/^Options of every command/ { on = 1; next } /^  --/ && on { o = $0; sub(/^  /, "", o); i = index(o, "  ")
        print ".TP"; print "@" substr(o, 1, i - 1); sub(/^ */, "", o); o = substr(o, i); sub(/^ */, "", o); print o }' | escaped
}
keys() {
    "$tollgate" config --sample | awk '
        /^\[/ { section = !/rules|backends/; if (section) print ".SS " $0; next }
        !section || /^$/ { next }
        /^# / { text = text (text == "" ? "" : " ") substr($0, 3); next }
        /^#/ { print ".TP"; print "@" substr($0, 2); print text; text = "" }' | escaped
}

while IFS= read -r line; do
    case $line in
    @COMMANDS@) commands ;;
    @OPTIONS@) options ;;
    @KEYS@) keys ;;
    *) printf '%s\n' "$line" | sed "s/@VERSION@/$version/g" ;;
    esac
done <"$page"
