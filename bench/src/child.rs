//! Other programs of this package: those that measure what this one cannot measure of itself.

use std::env;
use std::path::PathBuf;
use std::process::{Command, Stdio};

use anyhow::{Context, ensure};

/// Runs a program of this package and gives what it prints.
///
/// It is looked for beside this one. Under `cargo run` it is built first, since that builds only
/// the program that it runs.
///
/// # Errors
/// If it is not there, or fails.
pub fn output(program: &str, args: &[&str]) -> anyhow::Result<String> {
    let path = beside(program)?;
    if let Some(cargo) = env::var_os("CARGO").filter(|_| is_release(&path)) {
        let mut build = Command::new(cargo);
        build.args(["build", "--quiet", "--release", "-p", "bench", "--bin", program]);
        // As this one is, or all of it would be built again.
        if cfg!(not(feature = "azure")) {
            build.arg("--no-default-features");
        }
        let built = build.stdout(Stdio::null()).status().context("cargo does not start")?;
        ensure!(built.success(), "{program} does not build");
    }
    ensure!(path.exists(), "{program} is not built; `cargo build --release -p bench` does it");
    let output = Command::new(&path).args(args).stderr(Stdio::inherit()).output()?;
    ensure!(output.status.success(), "{program} failed: {}", output.status);
    Ok(String::from_utf8(output.stdout)?)
}

fn beside(program: &str) -> anyhow::Result<PathBuf> {
    let own = env::current_exe()?;
    let name = format!("{program}{}", env::consts::EXE_SUFFIX);
    Ok(own.with_file_name(name))
}

fn is_release(path: &std::path::Path) -> bool {
    path.parent().is_some_and(|folder| folder.ends_with("release"))
}
