#!/usr/bin/env bash
# Builds for AArch64 and runs the result under emulation, on an x86-64 Debian machine (or a relative of it).
#
#   .ci/aarch64.sh                                          set everything up, run nothing
#   .ci/aarch64.sh max test -p scant-tensor-core            cargo test on an emulated CPU with dot product, fp16, i8mm
#   .ci/aarch64.sh cortex-a72 test -p scant-tensor-core     the same binaries on a CPU with NEON alone
#
# The first argument is a CPU of qemu-aarch64, the rest a cargo command; `--target` is put in after its first word.
#
# What is needed, and where each part comes from:
#   linker and C library   Debian packages gcc-aarch64-linux-gnu and libc6-dev-arm64-cross
#   emulator               Debian package qemu-user
#   standard library       the toolchain's own, when `rustup target add` has put it there; otherwise it is compiled here, once,
#                          from its source: the toolchain's component rust-src if present, else the Debian package rust-src
#                          of exactly the version of the rustc in use, looked for in newer Debian suites and backports.
#                          Its few dependencies come from crates.io, pinned by the lock file that lies in the source.
# A library compiled here stays in cargo's target folder (`aarch64-sysroot-<version>`). Neither the Rust toolchain nor the
# machine's apt sources are changed. Any part that cannot be had ends the script with a message and status 1.
set -euo pipefail
cd "$(dirname "${BASH_SOURCE[0]}")/.."

TARGET=aarch64-unknown-linux-gnu
LIBC_ROOT=/usr/aarch64-linux-gnu
# rust-src of the version in use appears in one of these; backports keep several versions side by side.
SUITES=(trixie-backports trixie forky sid)
KEYRING=/usr/share/keyrings/debian-archive-keyring.gpg

say() { echo "aarch64: $*" >&2; }
die() { say "error: $*"; exit 1; }

as_root() {
  if [ "$(id -u)" = 0 ]; then "$@"
  elif command -v sudo >/dev/null; then sudo -n "$@"
  else die "'$*' needs root, and there is no sudo"
  fi
}

missing_packages() {
  command -v aarch64-linux-gnu-gcc >/dev/null || echo gcc-aarch64-linux-gnu
  [ -e "$LIBC_ROOT/lib/crt1.o" ] || echo libc6-dev-arm64-cross
  command -v qemu-aarch64 >/dev/null || echo qemu-user
}

install_packages() {
  local wanted
  mapfile -t wanted < <(missing_packages)
  [ ${#wanted[@]} -gt 0 ] || return 0
  command -v apt-get >/dev/null || die "no apt-get here; install by hand what these Debian packages hold: ${wanted[*]}"
  say "installing from the machine's apt sources: ${wanted[*]}"
  as_root apt-get update -qq </dev/null || say "apt-get update failed; trying with the package lists that are there"
  as_root env DEBIAN_FRONTEND=noninteractive apt-get install -y -qq --no-install-recommends "${wanted[@]}" \
    </dev/null >/dev/null || die "apt-get could not install ${wanted[*]}"
  mapfile -t wanted < <(missing_packages)
  [ ${#wanted[@]} -eq 0 ] || die "installed, and still missing: ${wanted[*]}"
}

# The mirror this machine already uses for Debian, or Debian's own.
debian_mirror() {
  local found
  found=$(cat /etc/apt/sources.list /etc/apt/sources.list.d/*.{list,sources} 2>/dev/null |
    grep -v '^[[:space:]]*#' | grep -oE 'https?://[^][:space:]]*/debian/?([[:space:]]|$)' | head -n 1 || true)
  found=${found%%[[:space:]]*}
  echo "${found:-http://deb.debian.org/debian}"
}

# Unpacks the Debian package rust-src of version $1 below folder $2, with a private apt state below folder $3.
debian_rust_src() {
  local version=$1 into=$2 state=$3 mirror package apt_options
  command -v apt-get >/dev/null && command -v dpkg-deb >/dev/null ||
    die "no apt-get here to fetch rust-src $version with; 'rustup target add $TARGET' or 'rustup component add rust-src' serve as well"
  [ -e "$KEYRING" ] || as_root apt-get install -y -qq debian-archive-keyring </dev/null >/dev/null ||
    die "no $KEYRING to check Debian's signatures with"
  mirror=$(debian_mirror)
  mkdir -p "$state"/{lists/partial,archives/partial}
  printf "deb [signed-by=$KEYRING] $mirror %s main\n" "${SUITES[@]}" >"$state/sources.list"
  : >"$state/status"
  apt_options=(-o Dir::Etc::SourceList="$state/sources.list" -o Dir::Etc::SourceParts=/dev/null
    -o Dir::Etc::Preferences=/dev/null -o Dir::Etc::PreferencesParts=/dev/null
    -o Dir::State::Lists="$state/lists" -o Dir::State::status="$state/status" -o Dir::Cache="$state"
    -o APT::Sandbox::User="$(id -un)" -o Acquire::Languages=none -o Acquire::Retries=3)
  # A suite that has gone away is an error of `update`, yet the others may hold the package.
  apt-get "${apt_options[@]}" update -qq </dev/null || say "some of Debian's suites could not be read: ${SUITES[*]}"
  package=$(apt-cache "${apt_options[@]}" madison rust-src | tr -d ' ' | cut -d '|' -f 2 |
    grep -E "^${version//./\\.}([+~-]|\$)" | head -n 1 || true)
  [ -n "$package" ] || die "$mirror (${SUITES[*]}) has no rust-src $version; it has: $(
    apt-cache "${apt_options[@]}" madison rust-src | tr -d ' ' | cut -d '|' -f 2 | sort -u | tr '\n' ' ')"
  say "standard library source: Debian package rust-src $package from $mirror"
  (cd "$state" && apt-get "${apt_options[@]}" download -qq "rust-src=$package" </dev/null) || die "could not download rust-src $package"
  dpkg-deb -x "$state"/rust-src_*.deb "$into"
}

# Compiles the standard library in folder $1 for the target into a sysroot at folder $2.
compile_std() {
  local library=$1 sysroot=$2 work=$3
  mkdir -p "$work/empty/src" "$sysroot.part/lib/rustlib/$TARGET/lib"
  : >"$work/empty/src/lib.rs"
  printf '[package]\nname = "empty"\nedition = "2024"\n[workspace]\n' >"$work/empty/Cargo.toml"
  # RUSTC_BOOTSTRAP lets a stable cargo compile its own standard library, and __CARGO_TESTS_ONLY_SRC_ROOT says where the
  # source lies (miri finds its way by the same two). Both hold for this one command only.
  (
    cd "$work/empty"
    unset RUSTFLAGS CARGO_ENCODED_RUSTFLAGS CARGO_BUILD_TARGET
    RUSTC_BOOTSTRAP=1 __CARGO_TESTS_ONLY_SRC_ROOT=$library CARGO_TARGET_DIR=$work/target \
      CARGO_TARGET_AARCH64_UNKNOWN_LINUX_GNU_LINKER=aarch64-linux-gnu-gcc RUSTC=$(rustup which rustc 2>/dev/null || command -v rustc) \
      "$CARGO" build --quiet --release -Z build-std=std,panic_unwind,proc_macro,test --target $TARGET </dev/null
  ) || die "the standard library in $library does not compile for $TARGET"
  cp "$work/target/$TARGET/release/deps/"lib*.rlib "$sysroot.part/lib/rustlib/$TARGET/lib/"
  rm -f "$sysroot.part/lib/rustlib/$TARGET/lib/"libempty-*.rlib
  rm -rf "$sysroot"
  mv "$sysroot.part" "$sysroot"
}

has_std() { compgen -G "$1/lib/rustlib/$TARGET/lib/libstd-*.rlib" >/dev/null; }

# Sets SYSROOT to a folder that holds the standard library for the target, making it if need be.
find_sysroot() {
  local own version work library
  own=$(rustc --print sysroot)
  version=$(rustc -vV | sed -n 's/^release: //p')
  if has_std "$own"; then SYSROOT=$own; return; fi
  mkdir -p "${CARGO_TARGET_DIR:-target}"
  SYSROOT=$(cd "${CARGO_TARGET_DIR:-target}" && pwd)/aarch64-sysroot-$version
  [[ $SYSROOT != *[[:space:]]* ]] || die "the path $SYSROOT has a space in it, which a compiler flag cannot carry"
  if has_std "$SYSROOT"; then return; fi
  [[ $version != *-* ]] || die "rustc $version is no release; use the toolchain that rust-toolchain.toml names"
  CARGO=$(rustup which cargo 2>/dev/null || command -v cargo)
  work=$(mktemp -d)
  trap 'rm -rf "$work"' EXIT
  library=$own/lib/rustlib/src/rust/library
  if [ -e "$library/std/Cargo.toml" ]; then
    say "standard library source: the toolchain's component rust-src in $library"
  else
    debian_rust_src "$version" "$work/package" "$work/apt"
    library=$work/package/usr/src/rustc-$version/library
    [ -e "$library/std/Cargo.toml" ] || die "the package rust-src holds no ${library#"$work/package"}"
  fi
  say "compiling the standard library of rustc $version for $TARGET"
  compile_std "$library" "$SYSROOT" "$work"
  rm -rf "$work"
  trap - EXIT
}

[ $# -eq 0 ] || [ $# -ge 2 ] || die "usage: .ci/aarch64.sh [CPU CARGO-COMMAND...]"
command -v rustc >/dev/null && command -v cargo >/dev/null || die "no rustc and cargo in PATH"
install_packages
find_sysroot
say "compiler $(aarch64-linux-gnu-gcc -dumpfullversion), $(qemu-aarch64 --version | head -n 1), standard library in $SYSROOT"
[ $# -ge 2 ] || exit 0

cpu=$1 command=$2
shift 2
export CARGO_TARGET_AARCH64_UNKNOWN_LINUX_GNU_LINKER=aarch64-linux-gnu-gcc
export CARGO_TARGET_AARCH64_UNKNOWN_LINUX_GNU_RUNNER="qemu-aarch64 -cpu $cpu -L $LIBC_ROOT"
export CARGO_TARGET_AARCH64_UNKNOWN_LINUX_GNU_RUSTFLAGS="--sysroot $SYSROOT"
export CARGO_TARGET_AARCH64_UNKNOWN_LINUX_GNU_RUSTDOCFLAGS="--sysroot $SYSROOT"
exec cargo "$command" --target $TARGET "$@"
