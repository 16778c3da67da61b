//! The process that is Azurite.

use std::env;
use std::fmt;
use std::io::{self, BufRead, BufReader, PipeReader};
use std::process::{Child, ExitStatus, Stdio};
use std::sync::OnceLock;
use std::thread;

use crate::{AzuriteError, node};

/// Azurite's built-in account and its key. They are the same everywhere and documented.
const ACCOUNT: &str = "devstoreaccount1";
const KEY: &str =
    "Eby8vdM02xNOcqFlqUwJPLlmEtlCDXJ1OUzFT50uSRZ6IFsuFq2UVErCz4I6tq/K1SZFPTOtr/KBHBeksoGMGw==";

/// Azurite's queue service: in memory, on a port of 127.0.0.1.
///
/// It stops when this is dropped, and also when this process ends in any other way.
pub struct Azurite {
    url: String,
    /// None where it was started by somebody else.
    process: Option<Child>,
}

impl Azurite {
    /// Starts one of its own on a free port.
    ///
    /// The first call on a machine installs it, which takes a while and needs the network.
    ///
    /// # Errors
    ///
    /// Node or npm is missing or too old, or the installation fails; the error says what to do.
    pub fn start() -> Result<Self, AzuriteError> {
        Self::start_on(0)
    }

    /// Starts one of its own on that port; 0 is a free one.
    ///
    /// # Errors
    ///
    /// As [`start`](Self::start), and [`Start`](AzuriteError::Start) where the port is taken.
    pub fn start_on(port: u16) -> Result<Self, AzuriteError> {
        let (output, input) = io::pipe().map_err(AzuriteError::io("make a pipe"))?;
        let errors = input.try_clone().map_err(AzuriteError::io("make a pipe"))?;
        let mut command = node::script("run.mjs")?;
        command
            .args(["--queueHost", "127.0.0.1", "--queuePort", &port.to_string()])
            .args(["--inMemoryPersistence", "--skipApiVersionCheck", "--disableTelemetry"])
            .arg("--silent")
            // It would replace the account.
            .env_remove("AZURITE_ACCOUNTS")
            .stdin(Stdio::piped())
            .stdout(input)
            .stderr(errors);
        let mut process = command.spawn().map_err(node::spawn_error)?;
        // Its ends of the pipe, without which the other end would never see the end.
        drop(command);

        match wait_until_ready(output) {
            Ok(address) => Ok(Self { url: format!("{address}/{ACCOUNT}"), process: Some(process) }),
            Err(error) => {
                stop(&mut process);
                Err(error)
            }
        }
    }

    /// The one that this process shares, started at first use: the one at `JOB_AZURITE_URL`
    /// (`http://127.0.0.1:10001/devstoreaccount1`) where that is set, else one of its own.
    ///
    /// Other tests use it too, so give queues names of their own.
    ///
    /// # Panics
    ///
    /// It cannot be had; the message is the error's.
    pub fn shared() -> &'static Self {
        static SHARED: OnceLock<Result<Azurite, AzuriteError>> = OnceLock::new();
        let shared = SHARED.get_or_init(|| match env::var("JOB_AZURITE_URL") {
            Ok(url) if !url.is_empty() => Self::at(&url),
            _ => Self::start(),
        });
        shared.as_ref().unwrap_or_else(|error| panic!("{error}"))
    }

    /// The one that somebody else runs at that URL, which ends with the account. Its key must be
    /// the built-in one. Whether it answers is not checked.
    ///
    /// # Errors
    ///
    /// [`Url`](AzuriteError::Url).
    pub fn at(url: &str) -> Result<Self, AzuriteError> {
        let url = url.strip_suffix('/').unwrap_or(url);
        let bare = url.strip_prefix("http://").or_else(|| url.strip_prefix("https://"));
        match bare.and_then(|bare| bare.split_once('/')) {
            Some((host, account))
                if !host.is_empty()
                    && !account.is_empty()
                    && account.bytes().all(|b| b.is_ascii_alphanumeric()) =>
            {
                Ok(Self { url: url.into(), process: None })
            }
            _ => Err(AzuriteError::Url { found: url.into() }),
        }
    }

    /// The queue service's URL with the account, without a slash at its end:
    /// `http://127.0.0.1:10001/devstoreaccount1`.
    pub fn url(&self) -> &str {
        &self.url
    }

    /// The account's name.
    pub fn account(&self) -> &str {
        self.url.rsplit('/').next().unwrap_or_default()
    }

    /// The account's key, in base64: Azurite's built-in one, and no secret.
    pub fn key(&self) -> &str {
        KEY
    }

    /// A connection string with URL, account and key.
    pub fn connection_string(&self) -> String {
        let (scheme, _) = self.url.split_once(':').unwrap_or_default();
        let Self { url, .. } = self;
        format!(
            "DefaultEndpointsProtocol={scheme};AccountName={};AccountKey={KEY};QueueEndpoint={url};",
            self.account()
        )
    }

    /// Its process, to pause or kill it; none where somebody else started it.
    pub fn pid(&self) -> Option<u32> {
        self.process.as_ref().map(Child::id)
    }

    /// Waits until it ends by itself, which it does only when it fails or is killed. Returns at
    /// once where somebody else started it.
    ///
    /// # Errors
    ///
    /// The system's.
    pub fn wait(mut self) -> io::Result<ExitStatus> {
        let Some(process) = &mut self.process else { return Ok(ExitStatus::default()) };
        // Waiting closes stdin, and with that it would end.
        let stdin = process.stdin.take();
        let status = process.wait();
        drop(stdin);
        status
    }
}

impl fmt::Debug for Azurite {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Azurite").field("url", &self.url).field("pid", &self.pid()).finish()
    }
}

impl Drop for Azurite {
    fn drop(&mut self) {
        if let Some(process) = &mut self.process {
            stop(process);
        }
    }
}

/// It keeps nothing that would need an orderly end.
fn stop(process: &mut Child) {
    // An error says that it is gone already.
    let _ = process.kill();
    let _ = process.wait();
}

/// The address that it says it listens on.
fn wait_until_ready(output: PipeReader) -> Result<String, AzuriteError> {
    let mut reader = BufReader::new(output);
    let mut printed = String::new();
    loop {
        let start = printed.len();
        match reader.read_line(&mut printed).map_err(AzuriteError::io("read from Azurite"))? {
            0 => return Err(AzuriteError::Start { output: printed }),
            _ => {
                if let Some((_, address)) = printed[start..].split_once("successfully listens on ")
                {
                    let address = address.trim().to_owned();
                    // What it says after this is trouble. It ends with the process.
                    thread::spawn(move || io::copy(&mut reader, &mut io::stderr()));
                    return Ok(address);
                }
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn one_that_runs_already_is_named_by_its_url() {
        let azurite = Azurite::at("http://127.0.0.1:10001/devstoreaccount1/").unwrap();
        assert_eq!(azurite.url(), "http://127.0.0.1:10001/devstoreaccount1");
        assert_eq!(azurite.account(), ACCOUNT);
        assert_eq!(azurite.pid(), None);
        assert_eq!(
            azurite.connection_string(),
            format!(
                "DefaultEndpointsProtocol=http;AccountName=devstoreaccount1;AccountKey={KEY};\
                 QueueEndpoint=http://127.0.0.1:10001/devstoreaccount1;"
            )
        );
    }

    #[test]
    fn other_urls_are_refused() {
        let bad = [
            "",
            "127.0.0.1:10001/devstoreaccount1",
            "http://127.0.0.1:10001",
            "http://127.0.0.1:10001/",
            "http:///devstoreaccount1",
            "http://127.0.0.1:10001/devstoreaccount1/queue",
            "http://127.0.0.1:10001/devstoreaccount1?sig=x",
        ];
        for url in bad {
            let error = Azurite::at(url).unwrap_err().to_string();
            assert!(error.contains("http://127.0.0.1:10001/devstoreaccount1"), "{error}");
        }
    }
}
