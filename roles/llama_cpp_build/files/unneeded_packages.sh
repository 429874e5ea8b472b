#!/bin/sh
# Prints which of the packages that came with the toolchain, as the file $1 lists them, can go: those that are still marked as installed
# automatically, and that nothing else depends on. apt decides.
set -eu
LC_ALL=C
export LC_ALL
work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT
ask() {
    apt-get --simulate -o APT::AutoRemove::RecommendsImportant=false -o APT::AutoRemove::SuggestsImportant=false "$@"
}

others=
while :; do
    # What nothing needs any more, if the others are needed.
    ask --auto-remove install $others | sed -n 's/^Remv \([^ ]*\) .*/\1/p' | grep -Fx -f "$1" >"$work/unneeded" || exit 0
    # What would go with it, and is not ours: an admin's, which nothing needs either.
    more=$(ask purge $(cat "$work/unneeded") | sed -nE 's/^(Purg|Remv) ([^ ]*) .*/\2/p' | grep -Fxv -f "$work/unneeded") || break
    case $others in *"$more"*) exit 1 ;; esac
    others="$others $more"
done
cat "$work/unneeded"
