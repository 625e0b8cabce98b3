# What scripts/try-release and scripts/try-machine have in common; to be read in by them, from the
# root of the tree. Sets `package`, its architecture, a directory that is gone at the end, and what
# docs/serve.md shows. $1 and $2 are theirs: PACKAGE.deb and MIRROR.
trial=$(basename "$0")
package=${1:-$(ls dist/release/application-pool-server_*_"$(dpkg --print-architecture)".deb)}
mirror=${2:-http://deb.debian.org/debian}
architecture=$(dpkg-deb --field "$package" Architecture)
work=$(mktemp -d "${TMPDIR:-/tmp}/pool-$trial.XXXXXX")
root=$work/root

# Makes a Debian 12 with these packages (separated by commas) at $root.
make_debian() {
  debootstrap --variant=minbase --arch="$architecture" --include="$1" bookworm "$root" "$mirror" \
    >"$work/debootstrap.log" 2>&1 || {
    tail -n 3 "$work/debootstrap.log" >&2
    fail "debootstrap of $architecture from $mirror"
  }
}

# The commands of "On a Debian system", as they stand there.
shown_lines() {
  awk '/^<!-- test: scripts\/try-release -->$/ { found = 1 }
    found && /^```$/ { exit }
    inside { print }
    found && /^```sh$/ { inside = 1 }' docs/serve.md
}
