//! Folders below the target folder that are filled once, whoever comes first.

use std::env;
use std::fs::{self, File};
use std::hash::{DefaultHasher, Hash, Hasher};
use std::io;
use std::path::{Path, PathBuf};
use std::process::Command;

use crate::AzuriteError;

/// Written last: what has no stamp was left half done.
const STAMP: &str = ".installed";

/// The folder that `fill` fills from `inputs`, the texts that say what to install. It is filled
/// at first use, by one process while others wait, and again when the texts change.
pub(crate) fn once(
    kind: &str,
    inputs: &[&str],
    fill: impl FnOnce(&Path) -> Result<(), AzuriteError>,
) -> Result<PathBuf, AzuriteError> {
    // The hash changes with the compiler, at worst; then all is installed again.
    let mut hasher = DefaultHasher::new();
    inputs.hash(&mut hasher);
    let base = target().join("azurite");
    let dir = base.join(format!("{kind}-{:016x}", hasher.finish()));
    if dir.join(STAMP).exists() {
        return Ok(dir);
    }

    let told = || AzuriteError::io(format!("write to {}", dir.display()));
    fs::create_dir_all(&base).map_err(told())?;
    // Freed by the system when this process ends, however it does.
    let lock = File::create(dir.with_extension("lock")).map_err(told())?;
    fs4::FileExt::lock(&lock).map_err(told())?;
    if dir.join(STAMP).exists() {
        return Ok(dir);
    }
    match fs::remove_dir_all(&dir) {
        Err(error) if error.kind() != io::ErrorKind::NotFound => return Err(told()(error)),
        _ => fs::create_dir_all(&dir).map_err(told())?,
    }
    fill(&dir)?;
    fs::write(dir.join(STAMP), "").map_err(told())?;
    Ok(dir)
}

/// Runs a command to its end and returns what it printed to stdout.
pub(crate) fn run(
    command: &mut Command,
    program: &'static str,
    advice: &'static str,
) -> Result<String, AzuriteError> {
    let output = command.output().map_err(|error| spawn_error(error, program, advice))?;
    let stdout = String::from_utf8_lossy(&output.stdout).into_owned();
    if output.status.success() {
        return Ok(stdout);
    }
    let args: Vec<_> = command.get_args().map(|arg| arg.to_string_lossy()).collect();
    Err(AzuriteError::Install {
        command: format!("{program} {}", args.join(" ")),
        advice,
        output: stdout + &String::from_utf8_lossy(&output.stderr),
    })
}

/// Why a program did not start.
pub(crate) fn spawn_error(
    error: io::Error,
    program: &'static str,
    advice: &'static str,
) -> AzuriteError {
    match error.kind() {
        io::ErrorKind::NotFound => AzuriteError::Missing { program, advice },
        _ => AzuriteError::io(format!("run {program}"))(error),
    }
}

/// Cargo's target folder, which git ignores.
fn target() -> PathBuf {
    let workspace = Path::new(env!("CARGO_MANIFEST_DIR")).join("../..");
    workspace.join(env::var_os("CARGO_TARGET_DIR").unwrap_or_else(|| "target".into()))
}
