//! Python and the packages that run on it.

use std::fs;
use std::io;
use std::path::{Path, PathBuf};
use std::process::Command;

use crate::{AzuriteError, install};

const REQUIREMENTS: &str = include_str!("../python/requirements.txt");

const PYTHON: &str = if cfg!(windows) { "python" } else { "python3" };

const ADVICE: &str = "install Python 3.10 or newer with venv (Debian and Ubuntu: `apt-get install \
                      python3-venv`; others: https://www.python.org)";

/// Runs a script of the folder `python` with the pinned packages, which are installed at first
/// use.
pub(crate) fn script(name: &str) -> Result<Command, AzuriteError> {
    let packages = packages()?;
    let mut python = Command::new(interpreter(&packages));
    python
        .arg(Path::new(env!("CARGO_MANIFEST_DIR")).join("python").join(name))
        .env("PYTHONUTF8", "1")
        .env("PYTHONDONTWRITEBYTECODE", "1");
    Ok(python)
}

/// Runs a script to its end and returns what it prints.
pub(crate) fn run(script: &mut Command) -> Result<String, AzuriteError> {
    install::run(script, PYTHON, ADVICE)
}

/// Why Python did not start.
pub(crate) fn spawn_error(error: io::Error) -> AzuriteError {
    install::spawn_error(error, PYTHON, ADVICE)
}

fn packages() -> Result<PathBuf, AzuriteError> {
    // The environment is bound to the Python that it was made with.
    let version = install::run(Command::new(PYTHON).arg("--version"), PYTHON, ADVICE)?;
    install::once("python", &[&version, REQUIREMENTS], |dir| {
        let requirements = dir.join("requirements.txt");
        fs::write(&requirements, REQUIREMENTS)
            .map_err(AzuriteError::io(format!("write {}", requirements.display())))?;
        install::run(Command::new(PYTHON).args(["-m", "venv"]).arg(dir), PYTHON, ADVICE)?;
        let pip = ["-m", "pip", "install", "--quiet", "--disable-pip-version-check"];
        let mut install = Command::new(interpreter(dir));
        install.args(pip).args(["--no-input", "--require-hashes", "-r"]).arg(&requirements);
        install::run(&mut install, PYTHON, ADVICE)?;
        Ok(())
    })
}

fn interpreter(dir: &Path) -> PathBuf {
    dir.join(if cfg!(windows) { "Scripts/python.exe" } else { "bin/python" })
}
