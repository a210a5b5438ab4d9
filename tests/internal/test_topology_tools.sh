#!/bin/bash
# The groups of each scope against what hwloc's own tools say of the same machine.
# usage: test_topology_tools.sh SHOW_TOPOLOGY
show=$1
command -v hwloc-calc >/dev/null || exit 77
# Their plug-ins have no say in this, and take long to load.
export HWLOC_COMPONENTS=-x86 HWLOC_PLUGINS_PATH=/nowhere
failed=0

# The CPUs of each object of a type: TYPE and options that name the machine.  hwloc-calc says
# that it waits, too.
objects() {
	local type=$1
	shift
	hwloc-calc "$@" --sep $'\n' -I "$type" all | sed "s/^/$type:/" | hwloc-calc "$@" --po -I pu |
		awk -F, -v OFS=, '/^[0-9]/ {
			for (i = 2; i <= NF; i++)
				for (j = i; j > 1 && $j + 0 < $(j - 1) + 0; j--) {
					cpu = $j
					$j = $(j - 1)
					$(j - 1) = cpu
				}
			print
		}'
}

# A name, our scope, hwloc's type, what show_topology said, and the options.
compare() {
	local name=$1 scope=$2 type=$3 shown=$4
	shift 4
	if ! diff <(sed -n "s/^$scope //p" <<<"$shown" | sort) <(objects "$type" "$@" | sort); then
		echo "$name: $scope differs from hwloc's $type"
		failed=1
	fi
}

# A name, the type that is the cache's ("" to leave it out) and the core's, and the options.
machine() {
	local name=$1 cache=$2 core=$3 shown
	shift 3
	shown=$("$show" "${described[@]}") || { echo "$name: can't be read"; failed=1; return; }
	compare "$name" cpu pu "$shown" "$@"
	compare "$name" smt "$core" "$shown" "$@"
	compare "$name" numa numanode "$shown" "$@"
	compare "$name" system machine "$shown" "$@"
	[ -z "$cache" ] || compare "$name" cache "$cache" "$shown" "$@"
}

while IFS='|' read -r text cache core; do
	described=("$text")
	machine "$text" "$cache" "$core" -i "$text"
done <<'END'
pu:1|numanode|pu
4|numanode|pu
node:2 l3:2 core:4 pu:2|l3|core
node:4 l3:2 core:2 pu:2|l3|core
pack:2 node:2 core:3 pu:1|numanode|core
node:1 l2:4 core:2 pu:2|l2|core
pack:2 l3:1 l2:4 core:1 pu:2|l3|core
node:2 l3:3 core:1 pu:2|numanode|core
node:2 core:2 pu:2(indexes=0,4,1,5,2,6,3,7)|numanode|core
node:2 l3:2 core:2 pu:2(indexes=60,40,1,5,20,6,3,70)|l3|core
END

# This machine: where tools and library must agree without knowing its caches.
cache=
[ "$(hwloc-calc -N l3 all)$(hwloc-calc -N l2 all)$(hwloc-calc -N l1 all)" = 000 ] && cache=numanode
core=core
[ "$(hwloc-calc -N core all)" -gt 0 ] || core=pu
described=()
machine "this machine" "$cache" "$core"

[ $failed -eq 0 ] && echo "as hwloc's tools say"
exit $failed
