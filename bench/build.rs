//! Tells the program with which compiler it was built.

use std::process::Command;

fn main() {
    println!("cargo::rerun-if-changed=build.rs");
    let rustc = std::env::var_os("RUSTC").expect("cargo says which compiler it takes");
    let output = Command::new(rustc).arg("--version").output().expect("cargo has just run it");
    let version = String::from_utf8(output.stdout).expect("it is plain");
    println!("cargo::rustc-env=BENCH_RUSTC={}", version.trim());
}
