//! Clients of the queue service that others wrote, in languages that others use.

use std::env;
use std::fmt;
use std::io::{self, BufRead, BufReader, Write};
use std::process::{Child, ChildStdin, ChildStdout, Command, Stdio};
use std::sync::{Mutex, PoisonError};
use std::time::{Duration, SystemTime};

use serde::Deserialize;
use serde_json::{Value, json};

use crate::{Azurite, AzuriteError, node, python};

/// How a foreign client writes and reads the text of messages.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Encoding {
    /// As it is.
    #[default]
    Plain,
    /// UTF-8 in base64, as Functions triggers do.
    Base64,
}

impl Encoding {
    fn name(self) -> &'static str {
        match self {
            Self::Plain => "none",
            Self::Base64 => "base64",
        }
    }
}

/// A message as a foreign client has it.
#[derive(Clone, Deserialize, PartialEq, Eq)]
#[non_exhaustive]
pub struct ForeignMessage {
    /// The service's name for it.
    pub id: String,
    /// What deletes it; a peek gives none.
    pub receipt: Option<String>,
    /// Its text: what is on the wire, or decoded where that was asked for.
    pub text: String,
    /// How often it was received, this time included.
    pub dequeue_count: u64,
    #[serde(rename = "inserted")]
    inserted_secs: u64,
    #[serde(rename = "expires")]
    expires_secs: u64,
}

impl ForeignMessage {
    /// When it came in, to the second.
    pub fn inserted(&self) -> SystemTime {
        SystemTime::UNIX_EPOCH + Duration::from_secs(self.inserted_secs)
    }

    /// How long it lives in all, to the second; none where it never expires.
    pub fn ttl(&self) -> Option<Duration> {
        // 9999-12-31T00:00:00Z, before what both clients make of the service's last moment.
        const NEVER: u64 = 253_402_214_400;
        let ttl = self.expires_secs.saturating_sub(self.inserted_secs);
        (self.expires_secs < NEVER).then(|| Duration::from_secs(ttl))
    }
}

impl fmt::Debug for ForeignMessage {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("ForeignMessage")
            .field("id", &self.id)
            .field("text", &self.text)
            .field("dequeue_count", &self.dequeue_count)
            .field("ttl", &self.ttl())
            .finish_non_exhaustive()
    }
}

/// A foreign client, in a process of its own that ends with this value and with this process.
///
/// Calls block and follow one another. Nothing is retried.
pub struct Foreign {
    name: &'static str,
    process: Child,
    pipes: Mutex<Pipes>,
}

struct Pipes {
    requests: ChildStdin,
    answers: BufReader<ChildStdout>,
}

#[derive(Deserialize)]
#[serde(rename_all = "lowercase")]
enum Answer {
    Ok(Value),
    Error { status: Option<u16>, code: Option<String>, message: String },
}

impl Foreign {
    /// Python's `azure-storage-queue`.
    ///
    /// The first call on a machine installs it, which needs the network.
    ///
    /// # Errors
    ///
    /// Python is missing, or the installation fails; the error says what to do.
    pub fn python(azurite: &Azurite) -> Result<Self, AzuriteError> {
        Self::python_at(&azurite.connection_string())
    }

    /// [`python`](Self::python) for any account.
    ///
    /// # Errors
    ///
    /// The same.
    pub fn python_at(connection_string: &str) -> Result<Self, AzuriteError> {
        let mut command = python::script("foreign.py")?;
        Self::start("python", command.arg(connection_string), python::spawn_error)
    }

    /// JavaScript's `@azure/storage-queue`.
    ///
    /// The first call on a machine installs it, which needs the network.
    ///
    /// # Errors
    ///
    /// Node or npm is missing or too old, or the installation fails; the error says what to do.
    pub fn node(azurite: &Azurite) -> Result<Self, AzuriteError> {
        Self::node_at(&azurite.connection_string())
    }

    /// [`node`](Self::node) for any account.
    ///
    /// # Errors
    ///
    /// The same.
    pub fn node_at(connection_string: &str) -> Result<Self, AzuriteError> {
        let mut command = node::script("foreign.mjs")?;
        Self::start("node", command.arg(connection_string), node::spawn_error)
    }

    fn start(
        name: &'static str,
        command: &mut Command,
        spawn_error: fn(io::Error) -> AzuriteError,
    ) -> Result<Self, AzuriteError> {
        // A proxy cannot reach this machine.
        for no_proxy in ["NO_PROXY", "no_proxy"] {
            let others = env::var(no_proxy).unwrap_or_default();
            command.env(no_proxy, format!("127.0.0.1,localhost,{others}"));
        }
        let mut process =
            command.stdin(Stdio::piped()).stdout(Stdio::piped()).spawn().map_err(spawn_error)?;
        let pipes = process.stdin.take().zip(process.stdout.take());
        let (requests, answers) = pipes.expect("both are piped");
        let pipes = Mutex::new(Pipes { requests, answers: BufReader::new(answers) });
        Ok(Self { name, process, pipes })
    }

    /// `python` or `node`.
    pub fn name(&self) -> &'static str {
        self.name
    }

    /// Creates a queue. One that is there already is fine.
    ///
    /// # Errors
    ///
    /// As each of these: [`Foreign`](AzuriteError::Foreign).
    pub fn create(&self, queue: &str) -> Result<(), AzuriteError> {
        self.call(&json!({ "op": "create", "queue": queue })).map(drop)
    }

    /// Deletes a queue.
    ///
    /// # Errors
    ///
    /// [`Foreign`](AzuriteError::Foreign).
    pub fn drop_queue(&self, queue: &str) -> Result<(), AzuriteError> {
        self.call(&json!({ "op": "drop", "queue": queue })).map(drop)
    }

    /// Sends a message with the client's defaults and returns its id.
    ///
    /// # Errors
    ///
    /// [`Foreign`](AzuriteError::Foreign).
    pub fn send(
        &self,
        queue: &str,
        text: &str,
        encoding: Encoding,
    ) -> Result<String, AzuriteError> {
        let encoding = encoding.name();
        self.ask(json!({ "op": "send", "queue": queue, "text": text, "encoding": encoding }))
    }

    /// [`send`](Self::send) as it is.
    ///
    /// # Errors
    ///
    /// [`Foreign`](AzuriteError::Foreign).
    pub fn send_text(&self, queue: &str, text: &str) -> Result<String, AzuriteError> {
        self.send(queue, text, Encoding::Plain)
    }

    /// [`send`](Self::send) in base64; the text is given without.
    ///
    /// # Errors
    ///
    /// [`Foreign`](AzuriteError::Foreign).
    pub fn send_base64(&self, queue: &str, text: &str) -> Result<String, AzuriteError> {
        self.send(queue, text, Encoding::Base64)
    }

    /// Receives up to `max` messages, at most 32, and hides them for a while of whole seconds.
    ///
    /// # Errors
    ///
    /// [`Foreign`](AzuriteError::Foreign), also where Python's client is to decode what is no
    /// base64.
    pub fn receive(
        &self,
        queue: &str,
        max: u32,
        visibility: Duration,
        encoding: Encoding,
    ) -> Result<Vec<ForeignMessage>, AzuriteError> {
        self.ask(json!({
            "op": "receive",
            "queue": queue,
            "max": max,
            "visibility": visibility.as_secs(),
            "encoding": encoding.name(),
        }))
    }

    /// Looks at up to `max` visible messages, at most 32.
    ///
    /// # Errors
    ///
    /// As [`receive`](Self::receive).
    pub fn peek(
        &self,
        queue: &str,
        max: u32,
        encoding: Encoding,
    ) -> Result<Vec<ForeignMessage>, AzuriteError> {
        let encoding = encoding.name();
        self.ask(json!({ "op": "peek", "queue": queue, "max": max, "encoding": encoding }))
    }

    /// Deletes a message that was received.
    ///
    /// # Errors
    ///
    /// [`Foreign`](AzuriteError::Foreign).
    pub fn delete(&self, queue: &str, message: &ForeignMessage) -> Result<(), AzuriteError> {
        let ForeignMessage { id, receipt, .. } = message;
        self.call(&json!({ "op": "delete", "queue": queue, "id": id, "receipt": receipt }))
            .map(drop)
    }

    /// The approximate number of messages, hidden ones included.
    ///
    /// # Errors
    ///
    /// [`Foreign`](AzuriteError::Foreign).
    pub fn count(&self, queue: &str) -> Result<u64, AzuriteError> {
        self.ask(json!({ "op": "count", "queue": queue }))
    }

    /// Any request that the client's script knows, such as a `send` with `visibility` and `ttl`
    /// in seconds.
    ///
    /// # Errors
    ///
    /// [`Foreign`](AzuriteError::Foreign).
    pub fn call(&self, request: &Value) -> Result<Value, AzuriteError> {
        let answer = self.exchange(request).map_err(|error| {
            self.failed(request, None, None, format!("its process does not answer: {error}"))
        })?;
        match answer {
            Answer::Ok(value) => Ok(value),
            Answer::Error { status, code, message } => {
                Err(self.failed(request, status, code, message))
            }
        }
    }

    fn ask<T: for<'de> Deserialize<'de>>(&self, request: Value) -> Result<T, AzuriteError> {
        let value = self.call(&request)?;
        serde_json::from_value(value).map_err(|error| {
            self.failed(&request, None, None, format!("an answer of another shape: {error}"))
        })
    }

    fn exchange(&self, request: &Value) -> io::Result<Answer> {
        // A request and its answer are whole, or the process is gone.
        let mut pipes = self.pipes.lock().unwrap_or_else(PoisonError::into_inner);
        pipes.requests.write_all(format!("{request}\n").as_bytes())?;
        let mut line = String::new();
        match pipes.answers.read_line(&mut line)? {
            0 => Err(io::ErrorKind::UnexpectedEof.into()),
            _ => Ok(serde_json::from_str(&line)?),
        }
    }

    fn failed(
        &self,
        request: &Value,
        status: Option<u16>,
        code: Option<String>,
        message: String,
    ) -> AzuriteError {
        let operation = request["op"].as_str().unwrap_or_default().to_owned();
        AzuriteError::Foreign { client: self.name, operation, status, code, message }
    }
}

impl fmt::Debug for Foreign {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Foreign")
            .field("name", &self.name)
            .field("pid", &self.process.id())
            .finish()
    }
}

impl Drop for Foreign {
    fn drop(&mut self) {
        // An error says that it is gone already.
        let _ = self.process.kill();
        let _ = self.process.wait();
    }
}
