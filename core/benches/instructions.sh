#!/bin/sh
# Instructions of the core per record, by valgrind's callgrind: the same on a busy machine as on an
# idle one. Two runs of different length, so that the start cancels out. The broker in memory and
# the copy into the receive buffer count along.
#
#     core/benches/instructions.sh [records]
set -eu
cd "$(dirname "$0")/../.."
records=${1:-100000}
if ! command -v valgrind >/dev/null; then
    echo "SKIPPED: valgrind is not installed, so no instructions were counted" >&2
    exit 0
fi
bench=$(cargo bench -q -p kavka-core --bench machine --features std --no-run --message-format=json |
    sed -n 's/.*"executable":"\([^"]*machine-[^"]*\)".*/\1/p' | tail -n 1)
count() {
    valgrind --tool=callgrind --callgrind-out-file=/dev/null "$bench" count "$1" "$2" 2>&1 |
        sed -n 's/.*Collected : \([0-9]*\).*/\1/p'
}
# Of records that are awaited one by one there need not be so many.
for what in await-10 await-10000; do
    once=$(count "$what" 1000)
    twice=$(count "$what" 2000)
    echo "$what: $(((twice - once) / 1000)) instructions per record"
done
for what in produce produce-keyed fetch; do
    once=$(count "$what" "$records")
    twice=$(count "$what" $((2 * records)))
    echo "$what: $(((twice - once) / records)) instructions per record"
done
