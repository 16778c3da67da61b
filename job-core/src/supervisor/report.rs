//! What a supervisor did, how its processes are, and why it gave up.

use std::fmt;
use std::io;
use std::os::unix::process::ExitStatusExt;

use super::child::{Exit, Killed};
use crate::Report;
use crate::envelope::error_text;

/// What a supervisor did from its start to its end.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
#[non_exhaustive]
pub struct SupervisorReport {
    /// What the workers of all processes did. Of a process that died, as of its last sign of life.
    pub jobs: Report,
    /// Processes started.
    pub started: u64,
    /// Processes that ended without being asked to, those killed for their silence included.
    pub died: u64,
    /// Processes replaced since they had run enough jobs.
    pub recycled_for_jobs: u64,
    /// Processes replaced since they had too much memory.
    pub recycled_for_memory: u64,
    /// Processes killed since they gave no sign of life.
    pub killed_silent: u64,
    /// Processes killed since they did not end within their grace time.
    pub killed_late: u64,
    /// Jobs that ran in the process for suspects.
    pub suspects: u64,
}

/// One line of all that is not zero.
impl fmt::Display for SupervisorReport {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} processes started", self.started)?;
        for (count, what) in [
            (self.died, "died"),
            (self.recycled_for_jobs, "recycled for their jobs"),
            (self.recycled_for_memory, "recycled for their memory"),
            (self.killed_silent, "killed for silence"),
            (self.killed_late, "killed at the end"),
        ] {
            if count != 0 {
                write!(f, ", {count} {what}")?;
            }
        }
        if self.suspects != 0 {
            write!(f, "; {} suspects run apart", self.suspects)?;
        }
        write!(f, "; jobs: {}", self.jobs)
    }
}

/// How one of a supervisor's processes is.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct ProcessStatus {
    /// Its number, from 1 on, or `suspects`.
    pub process: String,
    /// How it is.
    pub state: ProcessState,
    /// Its process id while there is one; while it is replaced, that of the old one.
    pub pid: Option<u32>,
    /// How often it was started again, for whatever reason.
    pub restarts: u64,
    /// How the last one ended, in words.
    pub last_exit: Option<String>,
    /// What its workers did so far, all lives taken together. Of one that was replaced it is in its
    /// successor's, and nothing here.
    pub jobs: Report,
}

/// How a process is.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
#[non_exhaustive]
pub enum ProcessState {
    /// It was started, and has not found its queues yet.
    Starting,
    /// It runs jobs.
    Running,
    /// It is being replaced: its successor starts.
    Recycling,
    /// It finishes its jobs and ends, beside its successor if it was replaced.
    Draining,
    /// It died, and is started again in a while.
    BackingOff,
    /// It has ended, and stays so. The process for suspects is in this state while there are none.
    Ended,
}

/// Why a supervisor ended that was not asked to.
///
/// `Debug` is what it says, its sources included: that is what a `main` prints that returns it.
#[derive(thiserror::Error)]
#[non_exhaustive]
pub enum SupervisorError {
    /// A setting makes no sense.
    #[error("{0}")]
    Settings(&'static str),
    /// This process cannot be a supervisor, or not reach the one it has.
    #[error("cannot {what}")]
    System {
        /// What it cannot do.
        what: &'static str,
        /// Why.
        source: io::Error,
    },
    /// A process died again and again before its worker had found its queues.
    #[error(
        "worker process {process} died {deaths} times in a row before it could take a job; the \
         last time: {last_exit}; all processes were stopped"
    )]
    #[non_exhaustive]
    CrashLoop {
        /// Which.
        process: String,
        /// How often.
        deaths: u32,
        /// How it ended the last time, in words, with its error where it told one.
        last_exit: String,
        /// What was done before, and until the others had ended.
        report: Box<SupervisorReport>,
    },
}

impl fmt::Debug for SupervisorError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&error_text(self))
    }
}

/// How a process ended, in words.
pub(super) fn words(exit: &Exit, error: Option<&str>) -> String {
    let mut text = match &exit.status {
        Ok(status) => match (status.code(), status.signal()) {
            (Some(0), _) => "it ended by itself".to_owned(),
            (Some(code), _) => format!("exit status {code}"),
            (None, Some(signal)) => format!("signal {signal}{}", name(signal)),
            (None, None) => status.to_string(),
        },
        Err(error) => error.clone(),
    };
    match exit.killed {
        Some(Killed::Silent) => text.push_str(", for its silence"),
        Some(Killed::Late) => text.push_str(", for being late"),
        None => {}
    }
    if let Some(error) = error {
        text.push_str(": ");
        text.push_str(error);
    }
    text
}

/// Of the signals that a process dies by most often.
fn name(signal: i32) -> &'static str {
    // Bus errors have other numbers on other systems.
    match signal {
        1 => " (SIGHUP)",
        2 => " (SIGINT)",
        6 => " (SIGABRT)",
        9 => " (SIGKILL)",
        11 => " (SIGSEGV)",
        15 => " (SIGTERM)",
        _ => "",
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// As `main` prints it that returns it.
    #[test]
    fn debug_of_an_error_is_what_it_says() {
        let error = SupervisorError::CrashLoop {
            process: "1".to_owned(),
            deaths: 5,
            last_exit: "exit status 1: the database is not there".to_owned(),
            report: Box::default(),
        };
        assert_eq!(format!("{error:?}"), error.to_string());
        let error = super::super::system("listen for signals")(io::Error::other("no room"));
        assert_eq!(format!("{error:?}"), "cannot listen for signals: no room");
    }
}
