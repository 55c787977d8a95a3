#!/usr/bin/env bash
# Unsafe code has few homes, named below; anywhere else the word `unsafe`, or a lint level that would let it in, is an error.
# Every published crate forbids it in its lib.rs (`deny` where a macro carries an allow, and where the homes are).
#
#   .ci/no_unsafe.sh            check the tree
#   .ci/no_unsafe.sh --self-test  check that the check can fail
set -euo pipefail
cd "$(dirname "${BASH_SOURCE[0]}")/.."

# Vector types, kernels, the proof of a CPU tier, mapped and huge-page bytes, the spinning team, views of faer; the counting allocator of
# tests; and tensor-core's tests that map a file, since mapping is an `unsafe fn`.
HOMES='^crates/tensor-core/src/(simd|kernels|isa|file|bytes|team|linalg)(/.*)?(\.rs)?$'
HOMES+='|^crates/tensor-core/tests/.*\.rs$|^crates/testkit/src/alloc[a-z_]*\.rs$'
# Where a module of the list is declared, its lint level may be set.
DOORS='^crates/(tensor-core|testkit)/src/lib\.rs$'

# Prints offending lines of the Rust files named on stdin (one a line), as path:line:text. Comments do not count.
offences() {
  local path
  while IFS= read -r path; do
    [[ $path =~ $HOMES ]] && continue
    sed 's://.*$::' "$path" | grep -nE '\bunsafe\b|\bunsafe_code\b' |
      grep -vE '^[0-9]+:[[:space:]]*#!\[(forbid|deny)\(unsafe_code\)\]' |
      if [[ $path =~ $DOORS ]]; then grep -E '\bunsafe\b'; else cat; fi |
      sed "s|^|$path:|" || true
  done
}

if [ "${1:-}" = --self-test ]; then
  probe=$(mktemp -d)
  trap 'rm -rf "$probe"' EXIT
  cd "$probe"
  mkdir -p crates/quant/src crates/tensor-core/src/simd
  printf '#![forbid(unsafe_code)]\n// unsafe in words is allowed\npub fn f() {}\n' >crates/quant/src/lib.rs
  printf 'pub fn g() { unsafe { h() } }\n' >crates/quant/src/bad.rs
  printf '#[expect(\n    unsafe_code,\n    reason = "x"\n)]\nmod m;\n' >crates/quant/src/lint.rs
  printf 'unsafe fn k() {}\n' >crates/tensor-core/src/simd/avx2.rs
  printf '#![deny(unsafe_code)]\n#[expect(unsafe_code, reason = "kernels")]\npub mod simd;\n' >crates/tensor-core/src/lib.rs
  found=$(find crates -name '*.rs' | sort | offences)
  expected='crates/quant/src/bad.rs:1:pub fn g() { unsafe { h() } }
crates/quant/src/lint.rs:2:    unsafe_code,'
  [ "$found" = "$expected" ] || { printf 'no_unsafe: the self-test found\n%s\ninstead of\n%s\n' "$found" "$expected" >&2; exit 1; }
  exit 0
fi

status=0
found=$(find crates examples benches -name target -prune -o -name '*.rs' -print | sort | offences)
if [ -n "$found" ]; then
  printf 'unsafe code outside its homes:\n%s\n' "$found" >&2
  status=1
fi
for lib in crates/*/src/lib.rs; do
  case $lib in crates/testkit/*) continue ;; esac
  grep -qE '^#!\[(forbid|deny)\(unsafe_code\)\]' "$lib" || {
    echo "$lib: neither #![forbid(unsafe_code)] nor #![deny(unsafe_code)] stands in it" >&2
    status=1
  }
done
exit $status
