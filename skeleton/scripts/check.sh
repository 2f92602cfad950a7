#!/bin/sh
# Every page is whole, and the front page links to it. Exit 1 and a line for each that is not.
cd "$(dirname "$0")/.." || exit 1
bad=0
for page in site/*.html; do
  name=${page#site/}
  grep -qi '</html>' "$page" || { echo "$page: no </html>"; bad=1; }
  grep -qi '<title>[^<]' "$page" || { echo "$page: no title"; bad=1; }
  [ "$name" = index.html ] || grep -q "href=\"$name\"" site/index.html || { echo "$page: site/index.html does not link to it"; bad=1; }
done
[ "$bad" = 0 ] && echo "all pages are whole"
exit "$bad"
