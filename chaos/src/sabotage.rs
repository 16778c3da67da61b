//! Workers that are broken on purpose, each in one way: the checker has to find every one of them
//! broken, and those that are not broken good.

use std::collections::BTreeSet;
use std::time::Duration;

use anyhow::Context;
use tokio::task::JoinSet;

use crate::cli::Options;
use crate::run;

/// How many runs at a time. Most of a run is waiting.
const AT_ONCE: usize = 4;

/// How to break them, if at all, and what has to be found: one of these invariants at least.
struct Break {
    name: Option<&'static str>,
    weather: Weather,
    found: &'static [u8],
}

/// What it takes for the break to matter.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Weather {
    /// Neither kills nor faults.
    Fair,
    /// Signals to processes.
    Signals,
    /// All of it.
    Foul,
}

use Weather::{Fair, Foul, Signals};

const BREAKS: &[Break] = &[
    // Those that run longest come first.
    Break { name: Some("no-crash-check"), weather: Foul, found: &[3] },
    Break { name: Some("lost-is-crashed"), weather: Foul, found: &[6] },
    Break { name: Some("charge-give-backs"), weather: Signals, found: &[6] },
    Break { name: Some("exit-without-giving-back"), weather: Signals, found: &[10] },
    Break { name: Some("deaf-to-signals"), weather: Signals, found: &[10] },
    Break { name: Some("no-renewal"), weather: Fair, found: &[0, 5] },
    Break { name: Some("delete-first"), weather: Fair, found: &[7] },
    Break { name: Some("delete-before-copy"), weather: Fair, found: &[7] },
    Break { name: Some("no-fence"), weather: Fair, found: &[3] },
    Break { name: Some("copy-twice"), weather: Fair, found: &[4] },
    Break { name: None, weather: Signals, found: &[] },
    Break { name: None, weather: Fair, found: &[] },
    Break { name: Some("drop-failed"), weather: Fair, found: &[7] },
];

/// Breaks workers in each of the ways, and in none; whether the checker told them apart.
pub(crate) async fn all(options: &Options) -> anyhow::Result<bool> {
    let mut runs = JoinSet::new();
    let mut good = true;
    let mut waiting = BREAKS.iter();
    println!("{:<26} {:<12} found broken", "break", "to be found");
    loop {
        while runs.len() < AT_ONCE
            && let Some(how) = waiting.next()
        {
            let options = how.options(options);
            runs.spawn(async move {
                let ran = run::run(&options, options.seeds.start).await;
                (how, ran)
            });
        }
        let Some(ran) = runs.join_next().await else { break };
        let (how, ran) = ran?;
        let name = how.name.unwrap_or(match how.weather {
            Fair => "none in fair weather",
            _ => "none",
        });
        let (verdict, dir) = ran.context(name)?;
        let found: BTreeSet<u8> = verdict.broken.iter().map(|broken| broken.invariant).collect();
        let wanted = how.found;
        let caught = match how.name {
            Some(_) => wanted.iter().any(|invariant| found.contains(invariant)),
            None => found.is_empty(),
        };
        let said = if caught { "" } else { " <- NOT AS IT HAS TO BE" };
        println!("{name:<26} {:<12} {found:?}{said}", format!("{wanted:?}"));
        if caught {
            std::fs::remove_dir_all(dir)?;
        } else {
            println!("{verdict}\nhistory and logs: {}", dir.display());
        }
        good &= caught;
    }
    Ok(good)
}

impl Break {
    fn options(&self, options: &Options) -> Options {
        let kills = if self.weather == Fair { 0 } else { 3 };
        let faults = if self.weather == Foul { 5 } else { 0 };
        // Some never get done; those that are not broken do, in their own time.
        let patience = self.name.map_or(options.patience, |_| Duration::from_secs(40));
        let sabotage = self.name.map(str::to_owned);
        Options { kills, faults, patience, sabotage, ..options.clone() }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_break_is_tried() {
        let known = job_core::sabotage::Sabotage::ALL.iter().map(|(name, _)| *name);
        let tried: BTreeSet<_> = BREAKS.iter().filter_map(|how| how.name).collect();
        assert_eq!(known.collect::<BTreeSet<_>>(), tried);
    }
}
