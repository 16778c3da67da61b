//! What can go wrong before a test can begin.

use std::io;

/// Azurite cannot be installed, started or used. `Display` says what to do.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum AzuriteError {
    /// A program that must be installed by hand is not there.
    #[error("`{program}` was not found in PATH: {advice}")]
    Missing {
        /// The program's name.
        program: &'static str,
        /// What to install.
        advice: &'static str,
    },
    /// Node is there, but older than Azurite and the client need.
    #[error("node is too old, {found}: {advice}")]
    NodeTooOld {
        /// What `node --version` prints.
        found: String,
        /// What to install.
        advice: &'static str,
    },
    /// The packages could not be installed.
    #[error(
        "`{command}` failed. The first use needs the network. If that is not it, {advice}. It \
         printed:\n{output}"
    )]
    Install {
        /// The command that failed.
        command: String,
        /// What to install.
        advice: &'static str,
        /// What it printed.
        output: String,
    },
    /// Azurite ended before it took requests.
    #[error("Azurite did not start. It printed:\n{output}")]
    Start {
        /// What it printed.
        output: String,
    },
    /// `JOB_AZURITE_URL` is not an Azurite's URL.
    #[error(
        "JOB_AZURITE_URL is {found:?}: give the queue service's URL with its account, as in \
         http://127.0.0.1:10001/devstoreaccount1"
    )]
    Url {
        /// What it is.
        found: String,
    },
    /// A foreign client, or the service, refuses.
    #[error("{operation} with the client for {client}: {} {message}", code.as_deref().unwrap_or("failed:"))]
    Foreign {
        /// `python` or `node`.
        client: &'static str,
        /// What was asked for.
        operation: String,
        /// The status of the service's answer.
        status: Option<u16>,
        /// The service's name for what is wrong.
        code: Option<String>,
        /// The client's own message.
        message: String,
    },
    /// A file or a process could not be used.
    #[error("cannot {what}: {source}")]
    Io {
        /// What was tried.
        what: String,
        /// Why it failed.
        source: io::Error,
    },
}

impl AzuriteError {
    pub(crate) fn io(what: impl Into<String>) -> impl FnOnce(io::Error) -> Self {
        let what = what.into();
        |source| Self::Io { what, source }
    }
}
