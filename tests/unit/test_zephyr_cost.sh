#!/bin/bash
# What stands for a native call takes at most 12 instructions more, all that it calls included.
# usage: test_zephyr_cost.sh PROGRAM
command -v valgrind >/dev/null || exit 77
out=$(mktemp) || exit 1
trap 'rm -f "$out"' EXIT
# All names are looked up beforehand, and not in the first call.
LD_BIND_NOW=1 valgrind --quiet --tool=callgrind --callgrind-out-file="$out" --compress-strings=no --fair-sched=yes "$1" || exit 1
awk -v most=12 '
	/^fn=/ { name = substr($0, 4); sub(/\..*/, "", name) }
	/^cfn=/ { callee = substr($0, 5); sub(/\..*/, "", callee) }
	/^calls=/ { split(substr($0, 7), count, " "); calls[callee] += count[1]; next }
	/^[0-9+*-]/ { cost[name] += $2 } # its own, and what a call took
	END {
		for (name in calls)
			if (sub(/^native_/, "", name)) {
				more = cost["zephyr_" name] / calls["zephyr_" name] - cost["native_" name] / calls["native_" name]
				printf "%-24s %5.1f more\n", name, more
				if (more > most)
					failed = 1
				nr++
			}
		exit failed || nr < 8
	}' "$out"
