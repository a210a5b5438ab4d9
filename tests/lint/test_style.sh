#!/bin/bash
# House rules that a script can check: licence lines, length of files, no left-over marks.
# usage: test_style.sh SOURCE_ROOT
cd "$1" || exit 1
failed=0
for file in $(find include lib tests bench examples -name '*.[ch]' -o -name '*.[ch]pp'); do
	head -1 "$file" | grep -q 'SPDX-License-Identifier: LGPL-2.1-or-later' ||
		{ echo "$file: no SPDX line"; failed=1; }
	[ "$(wc -l <"$file")" -le 600 ] || { echo "$file: longer than 600 lines"; failed=1; }
done
marks=$(grep -rnE 'TO''DO|FIX''ME|\bXX''X\b|HA''CK' include lib tests bench examples) && { echo "$marks"; failed=1; }
# Each primitive has one user of the raw form.
raw=$(grep -lE '__atomic_|SYS_futex' lib/*.[ch] | grep -vE 'lib/(atomic|futex)\.h') && { echo "raw primitives: $raw"; failed=1; }
[ $failed -eq 0 ] && echo "style holds"
exit $failed
