#!/bin/sh
# functions.sh: a function of the programs fits a screen: none is longer than 60 lines. Tables do not count, being none.
most=60
command -v ctags >/dev/null || { echo "functions: universal-ctags is missing"; exit 1; }
list=$(mktemp)
trap 'rm -f "$list"' EXIT
ctags --languages=C,C++ -R --kinds-C=f --kinds-C++=f --fields=+ne --output-format=u-ctags -f - cgi collector cli lib >"$list" || exit 1
awk -F'\t' -v most=$most '
    { line = end = 0
      for (i = 4; i <= NF; i++) {
          if ($i ~ /^line:/) line = substr($i, 6)
          if ($i ~ /^end:/) end = substr($i, 5)
      }
      n++
      if (end - line + 1 > most) { printf "functions: %s in %s has %d lines, more than %d\n", $1, $2, end - line + 1, most; long++ } }
    END { if (n < 1000) { print "functions: ctags found only " n; exit 1 }
          if (long) exit 1
          print "functions: " n ", none longer than " most " lines" }' "$list"
