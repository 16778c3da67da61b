//! What it is told to do.

use std::ops::Range;
use std::path::PathBuf;
use std::time::Duration;

use anyhow::{Context, bail, ensure};

pub(crate) const USAGE: &str = "\
usage: chaos [--jobs N] [--kills N] [--faults PERCENT] [--seed N | --seeds A..B]
             [--workers N] [--kills-only] [--out DIR] [--keep]
       chaos check HISTORY

  --jobs N          how many jobs; 300 by default
  --kills N         how many SIGKILLs; 5 by default. Pauses, rolling restarts and bursts of faults
                    go with them
  --faults PERCENT  how many of a hundred requests are struck; 5 by default
  --seed N          of all chance; 1 by default
  --seeds A..B      one run for each
  --workers N       how many processes; 3 by default
  --kills-only      nothing but kills: measures how long jobs take to come again
  --out DIR         where histories and logs go; the system's folder for such things by default
  --keep            keeps them of a good run too
  --sabotage HOW    with the feature of that name: workers that are broken on purpose, in one way;
                    `all` tries each, and the checker has to notice it
  check HISTORY     judges the history of an earlier run";

/// Longer than a queue may take to drain, so that the checker can tell.
const PATIENCE: Duration = Duration::from_secs(240);

#[derive(Clone, Debug)]
pub(crate) struct Options {
    pub(crate) jobs: u64,
    pub(crate) kills: u64,
    pub(crate) faults: u32,
    pub(crate) seeds: Range<u64>,
    pub(crate) workers: usize,
    pub(crate) kills_only: bool,
    pub(crate) out: Option<PathBuf>,
    pub(crate) keep: bool,
    pub(crate) sabotage: Option<String>,
    /// How long to wait for the queue to drain.
    pub(crate) patience: Duration,
}

pub(crate) enum Command {
    Run(Options),
    Check(PathBuf),
    Help,
}

pub(crate) fn parse(args: impl IntoIterator<Item = String>) -> anyhow::Result<Command> {
    let mut options = Options {
        jobs: 300,
        kills: 5,
        faults: 5,
        seeds: 1..2,
        workers: 3,
        kills_only: false,
        out: None,
        keep: false,
        sabotage: None,
        patience: PATIENCE,
    };
    let mut args = args.into_iter();
    while let Some(arg) = args.next() {
        let mut value = || args.next().with_context(|| format!("{arg} needs a value"));
        match &*arg {
            "check" => return Ok(Command::Check(value()?.into())),
            "--help" | "-h" => return Ok(Command::Help),
            "--jobs" => options.jobs = number(&value()?)?,
            "--kills" => options.kills = number(&value()?)?,
            "--faults" => options.faults = number(&value()?)? as u32,
            "--workers" => options.workers = number(&value()?)? as usize,
            "--seed" => {
                let seed = number(&value()?)?;
                options.seeds = seed..seed + 1;
            }
            "--seeds" => {
                let seeds = value()?;
                let (from, to) = seeds.split_once("..").context("--seeds is like 1..20")?;
                // Both ends belong to it.
                options.seeds = number(from)?..number(to.trim_start_matches('='))? + 1;
            }
            "--kills-only" => options.kills_only = true,
            "--out" => options.out = Some(value()?.into()),
            #[cfg(feature = "sabotage")]
            "--sabotage" => options.sabotage = Some(sabotage(value()?)?),
            "--keep" => options.keep = true,
            other => bail!("what is {other}?\n{USAGE}"),
        }
    }
    ensure!(options.workers > 0, "without workers nothing happens");
    ensure!(options.faults <= 100, "--faults is of a hundred requests");
    Ok(Command::Run(options))
}

/// A way to break workers that there is.
#[cfg(feature = "sabotage")]
fn sabotage(how: String) -> anyhow::Result<String> {
    let known = job_core::sabotage::Sabotage::ALL.iter().map(|(name, _)| *name);
    let known: Vec<_> = known.chain(["all"]).collect();
    ensure!(known.contains(&&*how), "--sabotage is one of {}", known.join(", "));
    Ok(how)
}

fn number(text: &str) -> anyhow::Result<u64> {
    text.parse().with_context(|| format!("{text} is not a number"))
}

#[cfg(all(test, feature = "sabotage"))]
mod tests {
    use super::*;

    #[test]
    fn only_what_is_known_can_be_broken() {
        let parsed = |how: &str| parse(["--sabotage".to_owned(), how.to_owned()]);
        assert!(parsed("delete-first").is_ok());
        assert!(parsed("all").is_ok());
        let error = parsed("delete-frist").err().unwrap().to_string();
        assert!(error.contains("delete-first"), "{error}");
    }
}
