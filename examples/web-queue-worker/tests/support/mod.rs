//! The program as others run it: each role in processes of its own, on one disk.

#![allow(dead_code, reason = "each test uses a part of it")]

use std::collections::BTreeSet;
use std::io::{BufRead, BufReader, Read};
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::sync::mpsc::{self, Receiver};
use std::thread::{self, JoinHandle};
use std::time::Duration;

use job_azurite::Azurite;
use rustix::process::{Pid, Signal, kill_process};

/// A disk for web and workers, and the account of their queue.
pub(crate) struct Site {
    pub(crate) disk: tempfile::TempDir,
    azurite: Azurite,
}

impl Site {
    pub(crate) fn new() -> Self {
        let disk = tempfile::tempdir().expect("a folder");
        Self { disk, azurite: Azurite::start().unwrap_or_else(|error| panic!("{error}")) }
    }

    pub(crate) fn web(&self) -> Web {
        Web::start(self.command(&["web", "--listen", "127.0.0.1:0"]))
    }

    pub(crate) fn workers(&self, processes: usize, scan: Duration) -> Workers {
        let (processes, scan) = (processes.to_string(), scan.as_millis().to_string());
        let args = ["worker", "--processes", &processes, "--scan", &scan];
        Workers::start(self.command(&args))
    }

    fn command(&self, args: &[&str]) -> Command {
        let mut command = program(args, self.disk.path());
        command.env("AZURE_STORAGE_CONNECTION_STRING", self.azurite.connection_string());
        command
    }
}

/// The web.
pub(crate) struct Web {
    pub(crate) program: Program,
    pub(crate) url: String,
}

impl Web {
    pub(crate) fn start(mut command: Command) -> Self {
        let mut program = Program::start(&mut command);
        let line = program.line();
        let url = line.strip_prefix("listening on ").unwrap_or_else(|| panic!("{line}"));
        Self { url: url.to_owned(), program }
    }
}

/// Worker processes and their supervisor.
pub(crate) struct Workers {
    program: Program,
    failures: Receiver<()>,
    /// Ends with them, and gives the processes that have finished jobs.
    log: JoinHandle<BTreeSet<String>>,
}

/// What they have done, once they are gone.
pub(crate) struct Stopped {
    pub(crate) report: String,
    /// How many processes have finished jobs.
    pub(crate) busy: usize,
}

impl Workers {
    fn start(mut command: Command) -> Self {
        command.env("RUST_LOG", "warn,job_core=info,job_core::worker=debug");
        let mut program = Program::start(command.stderr(Stdio::piped()));
        let lines = BufReader::new(program.child.stderr.take().expect("a pipe"));
        let (failed, failures) = mpsc::channel();
        let log = thread::spawn(move || {
            let mut busy = BTreeSet::new();
            for line in lines.lines().map_while(Result::ok) {
                if line.contains("job failed") {
                    let _ = failed.send(());
                }
                busy.extend(busy_process(&line).map(ToOwned::to_owned));
            }
            busy
        });
        Self { program, failures, log }
    }

    /// Waits until a job has failed.
    pub(crate) fn wait_for_a_failure(&self) {
        self.failures.recv_timeout(Duration::from_secs(60)).expect("a job fails");
    }

    /// Stops them. They must have completed so many jobs.
    pub(crate) fn stop_after(self, jobs: usize) -> Stopped {
        let report = self.program.stop();
        assert_eq!(completed(&report), Some(jobs), "{report}");
        let busy = self.log.join().expect("it reads lines").len();
        Stopped { report, busy }
    }
}

/// How many jobs a worker's or supervisor's report says were completed.
pub(crate) fn completed(report: &str) -> Option<usize> {
    let mut parts = report.split([',', ':', ';']);
    parts.find_map(|part| part.trim().strip_suffix(" completed")?.parse().ok())
}

/// The process whose log line says that a job is done.
pub(crate) fn busy_process(line: &str) -> Option<&str> {
    let (spans, _) = line.split_once(": job done")?;
    spans.split_once("worker{process=")?.1.split_once('}').map(|(process, _)| process)
}

/// The program with these args, told nothing by the environment that the test runs in.
pub(crate) fn program(args: &[&str], disk: &Path) -> Command {
    let mut command = Command::new(env!("CARGO_BIN_EXE_web-queue-worker"));
    command.args(args).arg("--data").arg(disk);
    // A picture that fails is a warning, and on purpose.
    command.env("RUST_LOG", "error");
    for name in ["AZURE_STORAGE_CONNECTION_STRING", "AZURE_STORAGE_QUEUE_ENDPOINT"] {
        command.env_remove(name);
    }
    command
}

/// A process that does not outlive its test.
pub(crate) struct Program {
    child: Child,
    stdout: BufReader<std::process::ChildStdout>,
}

impl Program {
    fn start(command: &mut Command) -> Self {
        let mut child = command.stdout(Stdio::piped()).spawn().expect("the program starts");
        let stdout = BufReader::new(child.stdout.take().expect("a pipe"));
        Self { child, stdout }
    }

    /// The next line that it prints.
    pub(crate) fn line(&mut self) -> String {
        let mut line = String::new();
        self.stdout.read_line(&mut line).expect("text");
        assert!(!line.is_empty(), "it has ended");
        line.trim_end().to_owned()
    }

    /// SIGTERM. It ends in good order, and the last line that it prints is returned.
    pub(crate) fn stop(mut self) -> String {
        kill_process(Pid::from_child(&self.child), Signal::TERM).expect("it is there");
        let last = self.stdout.by_ref().lines().map(|line| line.expect("text")).last();
        let status = self.child.wait().expect("it ends");
        assert!(status.success(), "{status}");
        last.unwrap_or_default()
    }
}

impl Drop for Program {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

pub(crate) fn asset(name: &str) -> PathBuf {
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("../assets");
    folder.join(name).canonicalize().unwrap_or_else(|error| panic!("{name}: {error}"))
}
