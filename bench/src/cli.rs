//! What it is told to do.

use anyhow::{Context, bail, ensure};
use bench::round::Effort;

pub(crate) const USAGE: &str = "\
usage: bench memory|latency|azure|scale|micro|all [--rounds N] [--quick] [--json] [--save]
       bench instructions [--quick|--record]
       bench telemetry [--quick]

  memory        queues in memory, beside apalis, tokio with serde_json, and a bare channel
  latency       of these, the start latency alone
  azure         Azure Queue Storage: imitated with 0, 2 and 10 ms latency, beside the bare SDK, and
                Azurite, beside the bare SDK, Python's SDK and Celery
  scale         more queues, more jobs waiting, five million jobs, more processes
  micro         single steps of a job's way
  all           all of these
  instructions  instructions a job, by callgrind, beside those recorded; --record keeps them
  telemetry     instructions a job, without and with the features for telemetry, nobody listening
  work CASE N   runs N jobs of a case of those once, for a profiler to look at
  --rounds N    how often each contender has its turn; 7 by default
  --quick       tiny counts and one round: only to see that it runs
  --json        prints JSON, with every sample, in place of tables
  --save        writes RESULTS.md and charts/ too: only of all parts, with 7 rounds or more, built
                with --release and with Azure";

/// How many rounds there are, unless it is told otherwise, and at least where figures are saved.
const ROUNDS: usize = 7;

/// What can be measured.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Part {
    Memory,
    /// A part of the one before.
    Latency,
    #[cfg(feature = "azure")]
    Azure,
    Scale,
    Micro,
}

impl Part {
    const ALL: &[Self] = &[
        Self::Memory,
        #[cfg(feature = "azure")]
        Self::Azure,
        Self::Scale,
        Self::Micro,
    ];
}

#[derive(Debug)]
pub(crate) struct Options {
    pub(crate) parts: Vec<Part>,
    pub(crate) effort: Effort,
    pub(crate) json: bool,
    pub(crate) save: bool,
}

#[derive(Debug)]
pub(crate) enum Command {
    Run(Options),
    Instructions {
        effort: Effort,
        record: bool,
    },
    Telemetry {
        effort: Effort,
    },
    /// What profilers look at.
    Work {
        case: String,
        jobs: u64,
        one_thread: bool,
    },
    /// A process whose memory is looked at.
    Flow {
        jobs: u64,
    },
    /// A worker process on Azurite.
    #[cfg(feature = "azure")]
    Serve {
        queue: String,
    },
    Help,
}

pub(crate) fn parse(args: impl IntoIterator<Item = String>) -> anyhow::Result<Command> {
    let mut parts = Vec::new();
    let (mut rounds, mut quick, mut json, mut save) = (ROUNDS, false, false, false);
    let (mut instructions, mut record, mut telemetry) = (false, false, false);
    let mut args = args.into_iter();
    while let Some(arg) = args.next() {
        match &*arg {
            "memory" => parts.push(Part::Memory),
            "latency" => parts.push(Part::Latency),
            #[cfg(feature = "azure")]
            "azure" => parts.push(Part::Azure),
            "scale" => parts.push(Part::Scale),
            "micro" => parts.push(Part::Micro),
            "all" => parts.extend(Part::ALL),
            "--rounds" => {
                let value = args.next().context("--rounds needs a number")?;
                rounds = value.parse().context("--rounds needs a number")?;
                ensure!(rounds > 0, "--rounds 0 measures nothing");
            }
            "instructions" => instructions = true,
            "telemetry" => telemetry = true,
            "--record" => record = true,
            "work" => {
                let case = args.next().context("work needs a case")?;
                let jobs = args.next().context("work needs a number of jobs")?.parse()?;
                let one_thread = args.any(|arg| arg == "--one-thread");
                return Ok(Command::Work { case, jobs, one_thread });
            }
            "flow" => {
                let jobs = args.next().context("flow needs a number of jobs")?.parse()?;
                return Ok(Command::Flow { jobs });
            }
            #[cfg(feature = "azure")]
            "serve" => {
                let queue = args.next().context("serve needs a queue")?;
                return Ok(Command::Serve { queue });
            }
            "--quick" => quick = true,
            "--json" => json = true,
            "--save" => save = true,
            "--help" | "-h" => return Ok(Command::Help),
            other => bail!("{other} is not known\n\n{USAGE}"),
        }
    }
    let effort =
        Effort { rounds: if quick { 1 } else { rounds }, warm_up: usize::from(!quick), quick };
    if instructions {
        return Ok(Command::Instructions { effort, record });
    }
    if telemetry {
        return Ok(Command::Telemetry { effort });
    }
    if parts.is_empty() {
        return Ok(Command::Help);
    }
    if save {
        may_be_saved(&parts, effort)?;
    }
    Ok(Command::Run(Options { parts, effort, json, save }))
}

/// What is written down is all of it, measured as it is to be.
fn may_be_saved(parts: &[Part], effort: Effort) -> anyhow::Result<()> {
    let is_whole = cfg!(feature = "azure") && Part::ALL.iter().all(|part| parts.contains(part));
    ensure!(is_whole, "--save takes `all`, with the feature azure: RESULTS.md is written anew");
    ensure!(
        !effort.quick && effort.rounds >= ROUNDS,
        "--save takes {ROUNDS} rounds or more, and not --quick"
    );
    ensure!(!cfg!(debug_assertions), "--save takes a build with --release");
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn parsed(args: &str) -> anyhow::Result<Command> {
        parse(args.split(' ').map(str::to_owned))
    }

    #[test]
    fn only_a_whole_run_is_saved() {
        let refusal = |args: &str| parsed(args).unwrap_err().to_string();
        assert!(refusal("latency --save").contains("`all`"));
        let build = if cfg!(feature = "azure") { "rounds" } else { "azure" };
        assert!(refusal("all --quick --save").contains(build));
        assert!(refusal("all --rounds 6 --save").contains(build));
        let build = if cfg!(feature = "azure") { "--release" } else { "azure" };
        if cfg!(debug_assertions) {
            assert!(refusal("all --save").contains(build));
        }
        assert!(matches!(parsed("latency --rounds 1"), Ok(Command::Run(_))));
    }
}
