//! Real worker processes against Azurite behind a wire with faults, killed, paused and replaced;
//! and a checker that holds what became of every job against what is promised.
//!
//! `cargo run -p chaos -- --help` says what it can be told.

#![allow(clippy::print_stdout, clippy::print_stderr, reason = "it shows what it does")]

mod check;
mod cli;
mod fleet;
mod history;
mod jobs;
mod nemesis;
mod proxy;
mod run;
#[cfg(feature = "sabotage")]
mod sabotage;
mod worker;

use std::path::Path;
use std::process::ExitCode;

use crate::check::Verdict;
use crate::cli::{Command, Options};

fn main() -> ExitCode {
    let ended = match std::env::var(worker::ROLE) {
        Ok(settings) => worker::main(&settings),
        Err(_) => harness(),
    };
    ended.unwrap_or_else(|error| {
        eprintln!("error: {error:#}");
        ExitCode::from(2)
    })
}

fn harness() -> anyhow::Result<ExitCode> {
    let good = match cli::parse(std::env::args().skip(1))? {
        Command::Help => {
            println!("{}", cli::USAGE);
            true
        }
        Command::Check(history) => {
            let verdict = check::judge(&history::read(&history)?)?;
            println!("{verdict}");
            verdict.is_good()
        }
        #[cfg(feature = "sabotage")]
        Command::Run(options) if options.sabotage.as_deref() == Some("all") => {
            let runtime = tokio::runtime::Builder::new_multi_thread().enable_all().build()?;
            runtime.block_on(uninterrupted(sabotage::all(&options)))?
        }
        Command::Run(options) => {
            let runtime = tokio::runtime::Builder::new_multi_thread().enable_all().build()?;
            runtime.block_on(uninterrupted(runs(&options)))?
        }
    };
    Ok(if good { ExitCode::SUCCESS } else { ExitCode::FAILURE })
}

/// What ctrl-c interrupts is dropped, and its processes with it.
async fn uninterrupted(runs: impl Future<Output = anyhow::Result<bool>>) -> anyhow::Result<bool> {
    tokio::select! {
        ran = runs => ran,
        _ = tokio::signal::ctrl_c() => anyhow::bail!("interrupted"),
    }
}

/// Whether all of them were good.
async fn runs(options: &Options) -> anyhow::Result<bool> {
    let mut bad = Vec::new();
    for seed in options.seeds.clone() {
        let (verdict, dir) = run::run(options, seed).await?;
        println!("\n{verdict}");
        finish(&verdict, &dir, options)?;
        if !verdict.is_good() {
            bad.push(seed);
        }
    }
    let count = options.seeds.end - options.seeds.start;
    match &bad[..] {
        [] if count > 1 => println!("{count} seeds, all good"),
        [] => {}
        bad => println!("bad seeds: {bad:?}"),
    }
    Ok(bad.is_empty())
}

fn finish(verdict: &Verdict, dir: &Path, options: &Options) -> anyhow::Result<()> {
    if verdict.is_good() && !options.keep {
        std::fs::remove_dir_all(dir)?;
    } else {
        println!("history and logs: {}", dir.display());
    }
    Ok(())
}
