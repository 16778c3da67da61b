//! The mistakes in a worker's set-up: all of them are collected, and each says what to do.

use std::fmt;
use std::time::Duration;

use crate::QueueName;

/// Mistakes found so far.
#[derive(Debug)]
pub(super) struct Problems(Vec<String>);

impl Problems {
    /// Goes on from what was found while the worker was set up.
    pub(super) fn new(found: Vec<String>) -> Self {
        Self(found)
    }

    pub(super) fn add(&mut self, problem: impl Into<String>) {
        self.0.push(problem.into());
    }

    pub(super) fn concurrency(&mut self, what: &str, given: usize) {
        const MOST: usize = 100_000;
        if given == 0 {
            self.add(format!("{what} is 0; it would never run a job; use at least 1"));
        } else if given > MOST {
            self.add(format!("{what} is {given}; the most is {MOST}"));
        }
    }

    pub(super) fn duration(
        &mut self,
        what: &str,
        given: Duration,
        least: Duration,
        most: Duration,
    ) {
        if given < least {
            self.add(format!("{what} is {given:?}; the least is {least:?}"));
        } else if given > most {
            self.add(format!("{what} is {given:?}; the most is {most:?}"));
        }
    }

    /// Checks the name of a queue that jobs are to run from.
    pub(super) fn queue_name(&mut self, name: &str) -> Option<QueueName> {
        let checked = QueueName::new(name).and_then(|name| name.poison().map(|_| name));
        match checked {
            Ok(name) if name.is_poison() => {
                self.add(format!(
                    "queue `{name}` is a poison queue, which no worker serves; replay its jobs \
                     with `client.poison(..)`"
                ));
                None
            }
            Ok(name) => Some(name),
            Err(error) => {
                self.add(error.to_string());
                None
            }
        }
    }

    pub(super) fn into_result(mut self) -> Result<(), BuildError> {
        self.0.dedup();
        if self.0.is_empty() { Ok(()) } else { Err(BuildError { problems: self.0 }) }
    }
}

/// What is wrong with the set-up of a worker: all of it, each with what to do about it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct BuildError {
    problems: Vec<String>,
}

impl BuildError {
    /// The mistakes, one text each.
    pub fn problems(&self) -> impl Iterator<Item = &str> {
        self.problems.iter().map(String::as_str)
    }
}

impl fmt::Display for BuildError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match &*self.problems {
            [one] => write!(f, "the worker cannot be built: {one}"),
            many => {
                write!(f, "the worker cannot be built, for {} reasons:", many.len())?;
                many.iter().try_for_each(|problem| write!(f, "\n- {problem}"))
            }
        }
    }
}

impl std::error::Error for BuildError {}
