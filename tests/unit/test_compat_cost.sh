#!/bin/bash
# What stands for a native call takes at most 12 instructions more, and so does a run.
# usage: test_compat_cost.sh PROGRAM
command -v valgrind >/dev/null || exit 77
out=$(mktemp) || exit 1
trap 'rm -f "$out"' EXIT
valgrind --quiet --tool=callgrind --callgrind-out-file="$out" --compress-strings=no --fair-sched=yes "$1" || exit 1
# Each function's own instructions, and how often it was called.
awk -v most=12 '
	/^fn=/ { name = substr($0, 4); sub(/\..*/, "", name) }
	/^cfn=/ { callee = substr($0, 5); sub(/\..*/, "", callee) }
	/^calls=/ { split(substr($0, 7), count, " "); calls[callee] += count[1]; called = 1; next }
	/^[0-9+*-]/ { if (!called) own[name] += $2; called = 0 }
	function check(what, more) {
		printf "%-24s %4.1f more\n", what, more
		if (more > most)
			failed = 1
		nr++
	}
	END {
		for (name in calls)
			if (sub(/^native_/, "", name))
				check(name, own["linux_" name] / calls["linux_" name] - own["native_" name] / calls["native_" name])
		if (!calls["wq_linux_run"])
			failed = 1
		check("run", own["wq_linux_run"] / calls["wq_linux_run"])
		exit failed || nr < 22
	}' "$out"
