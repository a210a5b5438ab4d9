#!/bin/bash
# Every name that the kernel's header defines stands in a row of its tests' tables.
# usage: test_compat_names.sh SOURCE_ROOT
cd "$1" || exit 1
rows=$(sed -n '/^\t\tROW(/,/),$/p' tests/unit/test_compat_linux_*.c)
names=$(sed -nE 's/^static inline [^(]*[ *]([a-z_0-9]+)\(.*/\1/p; s/^#define ([A-Za-z_0-9]+).*/\1/p; s/^struct ([a-z_]+) \{/\1/p; s/^typedef .*[ (*]([a-z_]+)[])[(;].*/\1/p' \
	include/wq/compat/linux*.h | grep -vE '^(WQ_COMPAT_|WQ_LINUX_|wq_linux_)' | sort -u)
[ "$(wc -l <<<"$names")" -ge 100 ] || { echo "the headers are not understood"; exit 1; }
failed=0
for name in $names; do
	grep -qw -- "$name" <<<"$rows" || { echo "$name: in no row"; failed=1; }
done
[ $failed -eq 0 ] && echo "$(wc -l <<<"$names") names"
exit $failed
