//! Python and the packages that run on it.

use std::io;
use std::path::{Path, PathBuf};
use std::process::Command;

use crate::{AzuriteError, install};

const REQUIREMENTS: &str = include_str!("../python/requirements.txt");

const PYTHON: &str = if cfg!(windows) { "python" } else { "python3" };

const ADVICE: &str = "install Python 3.10 or newer with venv (Debian and Ubuntu: `apt-get install \
                      python3-venv`; others: https://www.python.org)";

/// The Python of an environment with these packages, written as for `pip install -r`, each with its
/// hash. They are installed into the target folder at first use, which needs the network.
///
/// # Errors
///
/// Python is missing or too old, or the installation fails; the error says what to do.
pub fn python(requirements: &str) -> Result<PathBuf, AzuriteError> {
    // The environment is bound to the Python that it was made with.
    let version = install::run(Command::new(PYTHON).arg("--version"), PYTHON, ADVICE)?;
    let packages = install::once("python", &[&version, requirements], |folder| {
        folder.write("requirements.txt", requirements)?;
        folder.run(Command::new(PYTHON).args(["-m", "venv", "."]), PYTHON, ADVICE)?;
        let mut pip = Command::new(interpreter(folder.dir));
        pip.args(["-m", "pip", "install", "--quiet", "--disable-pip-version-check"]);
        pip.args(["--no-input", "--require-hashes", "-r", "requirements.txt"]);
        folder.run(&mut pip, PYTHON, ADVICE)
    })?;
    Ok(interpreter(&packages))
}

/// Runs a script of the folder `python` with the pinned packages, which are installed at first
/// use.
pub(crate) fn script(name: &str) -> Result<Command, AzuriteError> {
    let mut python = Command::new(python(REQUIREMENTS)?);
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

fn interpreter(dir: &Path) -> PathBuf {
    dir.join(if cfg!(windows) { "Scripts/python.exe" } else { "bin/python" })
}
