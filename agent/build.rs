//! How the program is linked.

fn main() {
    // A position-independent program is full of relative relocations, which the loader reads at the start: packed, they take a
    // twentieth of the pages (`DT_RELR`; glibc from 2.36 on).
    println!("cargo::rustc-link-arg-bins=-Wl,-z,pack-relative-relocs");
    println!("cargo::rerun-if-changed=build.rs");
}
