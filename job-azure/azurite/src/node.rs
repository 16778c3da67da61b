//! Node and the npm packages that run on it.

use std::io;
use std::path::{Path, PathBuf};
use std::process::Command;

use crate::{AzuriteError, install};

const PACKAGE: &str = include_str!("../npm/package.json");
const LOCK: &str = include_str!("../npm/package-lock.json");

/// What the locked packages need.
const OLDEST: u32 = 20;

const ADVICE: &str = "install Node.js 20 or newer with npm (Debian and Ubuntu: `apt-get install \
                      nodejs npm`; others: https://nodejs.org), or set JOB_AZURITE_URL to an \
                      Azurite that runs already";

/// Runs a script of the folder `npm` with the locked packages, which are installed at first use.
pub(crate) fn script(name: &str) -> Result<Command, AzuriteError> {
    check_version()?;
    let packages = packages()?;
    let mut node = Command::new("node");
    node.arg(Path::new(env!("CARGO_MANIFEST_DIR")).join("npm").join(name)).current_dir(packages);
    Ok(node)
}

/// Why node did not start.
pub(crate) fn spawn_error(error: io::Error) -> AzuriteError {
    install::spawn_error(error, "node", ADVICE)
}

fn check_version() -> Result<(), AzuriteError> {
    let version = install::run(Command::new("node").arg("--version"), "node", ADVICE)?;
    match major(&version) {
        Some(major) if major >= OLDEST => Ok(()),
        _ => Err(AzuriteError::NodeTooOld { found: version.trim().into(), advice: ADVICE }),
    }
}

/// 20 of `v20.1.2`.
fn major(version: &str) -> Option<u32> {
    version.trim().strip_prefix('v')?.split('.').next()?.parse().ok()
}

fn packages() -> Result<PathBuf, AzuriteError> {
    install::once("npm", &[PACKAGE, LOCK], |folder| {
        folder.write("package.json", PACKAGE)?;
        folder.write("package-lock.json", LOCK)?;
        // On Windows it is a script, which must be called by its full name.
        let npm = if cfg!(windows) { "npm.cmd" } else { "npm" };
        // No package that is used here needs its install script.
        let args = ["ci", "--no-audit", "--no-fund", "--ignore-scripts"];
        folder.run(Command::new(npm).args(args), "npm", ADVICE)
    })
}

#[cfg(test)]
mod tests {
    use super::major;

    #[test]
    fn versions_are_read() {
        assert_eq!(major("v20.20.2\n"), Some(20));
        assert_eq!(major("v8.1\n"), Some(8));
        assert_eq!(major("20.1.0"), None);
        assert_eq!(major(""), None);
    }
}
