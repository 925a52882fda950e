#!/bin/sh
# do VERB: every task of this repository. `./do help` lists them.
# Written for a fresh Debian machine that has Go and nothing else; what a verb
# needs beyond that it installs with apt-get, and says so.
set -eu
cd "$(dirname "$0")"
export CGO_ENABLED=0

say() { printf '%s\n' "do: $*" >&2; }

need_go() {
	command -v go >/dev/null || [ ! -x /usr/local/go/bin/go ] || PATH=$PATH:/usr/local/go/bin
	command -v go >/dev/null || {
		say "error: no Go on this machine"
		say "hint: install Go 1.26 from https://go.dev/dl/ and put its bin folder on PATH"
		exit 1
	}
}

# have PROGRAM: also where Debian keeps programs that are not on everybody's path.
have() {
	for path in "$(command -v "$1")" "/usr/sbin/$1" /usr/lib/postgresql/*/bin/"$1"; do
		[ ! -x "$path" ] || return 0
	done
	return 1
}

# packages PROGRAM=PACKAGE ...: installs the packages whose program is missing.
packages() {
	missing=
	for pair in "$@"; do
		have "${pair%%=*}" || missing="$missing ${pair#*=}"
	done
	[ -n "$missing" ] || return 0
	if [ "$(id -u)" != 0 ]; then
		say "not root: going on without$missing"
		say "hint: sudo apt-get install$missing"
		return 0
	fi
	say "installing with apt-get:$missing"
	apt-get update -q >/dev/null
	# RUNLEVEL=1: a package's service (PostgreSQL's) is not started, since tests start their own.
	# shellcheck disable=SC2086 # a list of packages
	RUNLEVEL=1 DEBIAN_FRONTEND=noninteractive apt-get install -y -q --no-install-recommends $missing >/dev/null
}

# pebble is a certificate authority that speaks ACME, for the tests of router/acme.
pebble() {
	[ -z "${PEBBLE:-}" ] || return 0
	cache=${XDG_CACHE_HOME:-${HOME:-/root}/.cache}/dew/tools
	export PEBBLE="$cache/pebble"
	[ -x "$PEBBLE" ] || GOBIN="$cache" go install github.com/letsencrypt/pebble/v2/cmd/pebble@v2.10.3
}

demo() {
	need_go
	packages qemu-system-x86_64=qemu-system-x86
	exec go run ./cmd/dew demo "$@"
}

check() {
	need_go
	unformatted=$(git ls-files '*.go' | xargs gofmt -l)
	[ -z "$unformatted" ] || { say "error: not as gofmt writes it: $unformatted"; exit 1; }
	go vet ./...
	go tool staticcheck ./...
}

# tools installs what tests use beside Go.
tools() {
	need_go
	packages qemu-system-x86_64=qemu-system-x86 nft=nftables initdb=postgresql "$@"
	pebble
}

run_tests() {
	tools
	check
	status=0
	[ $# -gt 0 ] || quick_race || status=1
	go test -json -timeout 20m "${@:-./...}" | go run ./tests/summary || status=1
	return $status
}

# quick_race runs the rooms that need nothing but a processor under the race
# detector, which takes minutes; ./do race has all.
quick_race() {
	packages "gcc=gcc libc6-dev"
	have gcc || { say "no gcc: the race detector is left out"; return 0; }
	say "under the race detector: the rooms that need nothing but a processor"
	CGO_ENABLED=1 go test -race -json -timeout 20m ./cf ./scheduler/... ./sim ./bus/inprocess ./api/logcache ./router ./router/http1 ./router/passage |
		go run ./tests/summary
}

case ${1:-help} in
demo) shift; demo "$@" ;;
check) check ;;
test) shift; run_tests "$@" ;;
race)
	# One package at a time: the detector takes five to ten times the memory.
	shift
	tools "gcc=gcc libc6-dev"
	DEW_TEST_RACE=1 CGO_ENABLED=1 go test -race -p 1 -json -timeout 60m "${@:-./...}" | CGO_ENABLED=0 go run ./tests/summary
	;;
fuzz)
	# Each target for FUZZTIME (default 20s), one after the other. Go would spend 60 s
	# on each new input to make it smaller, which is all of the time there is.
	need_go
	for package in $(go list ./...); do
		for target in $(go test -list '^Fuzz' "$package" | grep '^Fuzz' || true); do
			say "$package $target"
			go test -run '^$' -fuzz "^$target\$" -fuzztime "${FUZZTIME:-20s}" -fuzzminimizetime 20x "$package"
		done
	done
	;;
golden) need_go; go test ./... -run 'Golden' -update ;;
*)
	cat <<'HELP'
./do demo    brings up a foundation, pushes a real app to it, scales, rolls and breaks the
             app, and takes all down again; builds real programs into droplets, runs each
             as a sealed process and on bare metal under QEMU; prints what was checked
./do test    formatting, vet, staticcheck, all tests, and some of them under the race detector; prints what
             was skipped and why; or the tests of the packages named
./do check   formatting, vet and staticcheck alone
./do race    all tests under the race detector, and the dew that they start (installs gcc); or those of the
             packages named, as in: ./do race ./router ./tests/foundation
./do fuzz    every fuzz target for FUZZTIME (default 20s)
./do golden  writes the golden files anew: review the difference
HELP
	;;
esac
