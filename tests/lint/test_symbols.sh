#!/bin/bash
# The library exports exactly what the public headers mark with WQ_API.
# usage: test_symbols.sh LIBRARY HEADER...
library=$1
shift
declared=$(sed -n 's/^WQ_API[^(]*[ *]\(wq_[a-z0-9_]*\)[(;].*/\1/p' "$@" | sort)
exported=$(nm -D --defined-only "$library" | sed 's/@.*//' | awk '$2 == "T" || $2 == "D" || $2 == "B" || $2 == "R" { print $3 }' | sort)
[ -n "$declared" ] || { echo "no declarations found"; exit 1; }
[ "$(grep -c '^WQ_API' "$@" | awk -F: '{ n += $NF } END { print n }')" -eq "$(wc -l <<<"$declared")" ] ||
	{ echo "a WQ_API line that is not understood"; exit 1; }
diff <(echo "$declared") <(echo "$exported") && echo "$(wc -l <<<"$declared") symbols"
