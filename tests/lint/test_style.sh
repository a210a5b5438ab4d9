#!/bin/bash
# House rules that a script can check: licence lines, length of files, no left-over marks.
# usage: test_style.sh SOURCE_ROOT
cd "$1" || exit 1
failed=0
files=$(find include lib tests bench examples -name '*.[ch]' -o -name '*.[ch]pp')
bare=$(grep -L -m 1 'SPDX-License-Identifier: LGPL-2.1-or-later' $files) && [ -n "$bare" ] && { echo "no SPDX line: $bare"; failed=1; }
long=$(awk 'FNR == 601 { print FILENAME }' $files) && [ -n "$long" ] && { echo "longer than 600 lines: $long"; failed=1; }
marks=$(grep -rnE 'TO''DO|FIX''ME|\bXX''X\b|HA''CK' include lib tests bench examples) && { echo "$marks"; failed=1; }
# Each primitive has one user of the raw form.
raw=$(grep -lE '__atomic_|SYS_futex' lib/*.[ch] | grep -vE 'lib/(atomic|futex)\.h') && { echo "raw primitives: $raw"; failed=1; }
[ $failed -eq 0 ] && echo "style holds"
exit $failed
