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
    fill: impl FnOnce(&Filling<'_>) -> Result<(), AzuriteError>,
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
    // Freed by the system when its last holder ends, however it does.
    let lock = File::create(dir.with_extension("lock")).map_err(told())?;
    fs4::FileExt::lock(&lock).map_err(told())?;
    if dir.join(STAMP).exists() {
        return Ok(dir);
    }
    match fs::remove_dir_all(&dir) {
        Err(error) if error.kind() != io::ErrorKind::NotFound => return Err(told()(error)),
        _ => fs::create_dir_all(&dir).map_err(told())?,
    }
    fill(&Filling { dir: &dir, lock: &lock })?;
    fs::write(dir.join(STAMP), "").map_err(told())?;
    Ok(dir)
}

/// A folder while it is being filled.
pub(crate) struct Filling<'a> {
    pub(crate) dir: &'a Path,
    lock: &'a File,
}

impl Filling<'_> {
    /// [`run`] in the folder.
    pub(crate) fn run(
        &self,
        command: &mut Command,
        program: &'static str,
        advice: &'static str,
    ) -> Result<(), AzuriteError> {
        // It holds the lock as well, so that nobody else begins while it outlives this process.
        let lock = self.lock.try_clone().map_err(AzuriteError::io("share a lock"))?;
        run(command.current_dir(self.dir).stdin(lock), program, advice).map(drop)
    }

    /// Writes a file into the folder.
    pub(crate) fn write(&self, name: &str, text: &str) -> Result<(), AzuriteError> {
        let file = self.dir.join(name);
        fs::write(&file, text).map_err(AzuriteError::io(format!("write {}", file.display())))
    }
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
