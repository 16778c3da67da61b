//! A loop on Python's SDK, and Celery, in processes of their own: `python/work.py`.

use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::time::Duration;

use anyhow::{Context, ensure};
use job_azurite::{Azurite, AzuriteError};
use serde::Deserialize;

use super::Done;
use super::azurite::MOST_WAITING;
use crate::round::Spent;

/// What they are called in tables, and by the script.
pub(super) const CONTENDERS: [(&str, &str); 2] =
    [("loop on Python's SDK", "sdk"), ("Celery", "celery")];

const REQUIREMENTS: &str = include_str!("../../python/requirements.txt");

/// A Python that has the packages.
pub(super) struct Python {
    interpreter: PathBuf,
}

/// What the script prints.
#[derive(Deserialize)]
struct Printed {
    seconds: f64,
    cpu: f64,
    requests: u64,
}

impl Python {
    /// Installs the packages into the target folder, if they are not there yet.
    pub(super) fn installed() -> Result<Self, AzuriteError> {
        Ok(Self { interpreter: job_azurite::python(REQUIREMENTS)? })
    }

    pub(super) fn run(
        &self,
        kind: &str,
        azurite: &Azurite,
        queue: &str,
        concurrency: usize,
        jobs: u64,
    ) -> anyhow::Result<Done> {
        let script = Path::new(env!("CARGO_MANIFEST_DIR")).join("python/work.py");
        let output = Command::new(&self.interpreter)
            .arg(script)
            .args([kind, azurite.url(), azurite.account(), azurite.key(), queue])
            .args([concurrency as u64, jobs, MOST_WAITING as u64].map(|number| number.to_string()))
            .env("PYTHONUTF8", "1")
            .env("PYTHONDONTWRITEBYTECODE", "1")
            .env("NO_PROXY", "127.0.0.1")
            .stdin(Stdio::null())
            .stderr(Stdio::inherit())
            .output()?;
        ensure!(output.status.success(), "{kind} by Python failed: {}", output.status);
        let printed: Printed =
            serde_json::from_slice(&output.stdout).context("what Python prints is no JSON")?;
        let wall = Duration::from_secs_f64(printed.seconds);
        let spent = Spent { wall, cpu: Duration::from_secs_f64(printed.cpu) };
        Ok(Done { spent, requests: printed.requests })
    }
}
