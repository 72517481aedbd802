#!/bin/sh
# A copy of a data directory, also of one that a daemon uses:  backup.sh DATA_DIR NEW_DIR
# Cases before the registry: what they lack of its deltas they catch up with. The registry before its segments, and
# extents on both sides of cases.db: so every file is there that a database names. The copy is verified; where files
# were replaced in between all the same, it is made anew. Wants `sqlite3` and `eir` on the PATH.
set -eu
umask 027
[ $# -eq 2 ] || { echo "usage: backup.sh DATA_DIR NEW_DIR" >&2; exit 2; }
data=$1 copy=$2
[ -f "$data/registry.db" ] || { echo "backup: $data has no registry.db" >&2; exit 2; }
[ ! -e "$copy" ] || { echo "backup: $copy is there already" >&2; exit 2; }

database() {
    [ ! -f "$data/$1" ] || sqlite3 "$data/$1" ".timeout 60000" ".backup '$copy/$1'"
}

# A file may go while it is copied: whether one is missing is seen below.
files() {
    find "$data" -maxdepth 1 -name "$1" -exec cp -a {} "$copy/" \; || :
}

verified() {
    eir journal verify --data-dir "$copy" && eir segments verify --data-dir "$copy" || return 1
    [ ! -f "$copy/cases.db" ] || sqlite3 "$copy/cases.db" "SELECT file FROM extents" | while read -r name; do
        [ -f "$copy/$name" ] || { echo "backup: $name is missing" >&2; exit 1; }
    done
}

for try in 1 2 3; do
    mkdir -p "$copy"
    files 'cases-*.ext'
    database cases.db
    files 'cases-*.ext'
    database registry.db
    for name in segments lists policies decisions followed.cases; do
        files "$name"
    done
    database inquiries.db
    if verified; then
        exit 0
    fi
    echo "backup: try $try is not whole" >&2
    rm -rf "$copy"
done
exit 1
