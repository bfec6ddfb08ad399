# shellcheck shell=bash
# What the scripts share. Sourced, not run.

# The top folder of the project is the working directory of every script.
cd "$(dirname "${BASH_SOURCE[0]}")/.." || exit 2

say() {
    printf '%s\n' "$*" >&2
}

# need_packages COMMAND=PACKAGE...: makes sure that the commands exist. As root on Debian and its
# relatives the missing packages are installed; otherwise this says what to install and ends.
need_packages() {
    local pair missing=()
    # Tools for administrators are not always in the path of others.
    PATH="$PATH:/usr/sbin:/sbin"
    for pair in "$@"; do
        command -v "${pair%%=*}" >/dev/null || missing+=("${pair#*=}")
    done
    if [ "${#missing[@]}" -eq 0 ]; then
        return 0
    fi
    if [ "$(id -u)" -eq 0 ] && command -v apt-get >/dev/null; then
        say "installing ${missing[*]}"
        export DEBIAN_FRONTEND=noninteractive
        apt-get update -qq >&2
        apt-get install -y -qq --no-install-recommends "${missing[@]}" >&2
        return 0
    fi
    say "missing: ${missing[*]}"
    if command -v apt-get >/dev/null; then
        say "install with: sudo apt-get install ${missing[*]}"
    else
        say "install the packages of these names (they are Debian's) with your package manager"
    fi
    exit 2
}

# need_rust: makes sure that cargo and a new enough rustc are there.
need_rust() {
    local wanted found
    if ! command -v cargo >/dev/null && [ -x "${CARGO_HOME:-$HOME/.cargo}/bin/cargo" ]; then
        PATH="${CARGO_HOME:-$HOME/.cargo}/bin:$PATH"
    fi
    wanted=$(sed -n 's/^rust-version = "\(.*\)"$/\1/p' Cargo.toml)
    if ! command -v cargo >/dev/null || ! command -v rustc >/dev/null; then
        say "missing: Rust $wanted or later"
        say "install it with rustup (https://rustup.rs), or with: sudo apt-get install cargo rustc"
        exit 2
    fi
    found=$(rustc --version | cut -d ' ' -f 2)
    if [ "$(printf '%s\n%s\n' "$wanted" "$found" | sort -V | head -n 1)" != "$wanted" ]; then
        say "Rust $found is too old: $wanted or later is needed"
        say "update with: rustup update stable; or install a later Rust from https://rustup.rs"
        exit 2
    fi
    # Rust links with the C compiler.
    need_packages cc=build-essential
}

# need_fuse: makes sure that something can be mounted.
need_fuse() {
    need_packages fusermount3=fuse3
    if [ ! -e /dev/fuse ] && [ "$(id -u)" -eq 0 ] && command -v modprobe >/dev/null; then
        modprobe fuse || true
    fi
    if [ ! -e /dev/fuse ]; then
        say "there is no /dev/fuse: load the kernel module with \"sudo modprobe fuse\","
        say "or start the container with \"--device /dev/fuse --cap-add SYS_ADMIN\""
        exit 2
    fi
}
