//! What is done to the worker processes, and when.

use std::sync::atomic::{AtomicU64, Ordering::Relaxed};
use std::time::Duration;

use anyhow::Context;
use tokio::task::JoinSet;
use tokio::time::sleep;

use std::sync::Arc;

use crate::fleet::{Fleet, until};
use crate::history::Signal;
use crate::proxy::Proxy;
use crate::worker::{LEASE, Role};

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Act {
    Kill,
    /// Pauses a process for longer than a lease.
    Pause,
    /// Ends a process in good order; its successor has the other role.
    Roll,
    /// Ends the supervisor in good order, all its processes with it, and starts another.
    Deploy,
    /// Kills the supervisor, and starts another.
    Orphan,
    /// Strikes nearly every other request for a moment.
    Burst,
}

/// How many of a hundred requests a burst strikes.
const BURST: u32 = 40;

/// How long it waits for something to do and for somebody to do it to. What holds producers up
/// longest is a queue that drains slowly.
const PATIENCE: Duration = Duration::from_secs(240);

/// What it can reach.
#[derive(Debug)]
pub(crate) struct Nemesis {
    pub(crate) fleet: Arc<Fleet>,
    pub(crate) proxy: Arc<Proxy>,
    pub(crate) rng: fastrand::Rng,
    /// Of a hundred requests, outside of bursts.
    pub(crate) faults: u32,
    pub(crate) kills: u64,
    pub(crate) only_kills: bool,
}

impl Nemesis {
    /// Acts as the enqueueing of `jobs` goes on, until all is done and undone.
    pub(crate) async fn run(mut self, enqueued: &AtomicU64, jobs: u64) -> anyhow::Result<()> {
        let mut acts = vec![Act::Kill; self.kills as usize];
        if !self.only_kills {
            let some = |n: u64| if self.kills == 0 { 0 } else { n.max(1) as usize };
            acts.extend([Act::Pause].repeat(some(self.kills / 3)));
            acts.extend([Act::Roll].repeat(some(self.kills / 2)));
            acts.extend([Act::Deploy].repeat(some(self.kills / 5)));
            acts.extend([Act::Orphan].repeat(some(self.kills / 5)));
            if self.faults > 0 {
                acts.extend([Act::Burst].repeat(1 + self.kills as usize / 3));
            }
        }
        self.rng.shuffle(&mut acts);
        let mut later = JoinSet::new();
        let count = acts.len() as u64;
        for (number, act) in acts.into_iter().enumerate() {
            let due = jobs * (number as u64 + 1) / (count + 1);
            let is_due = || enqueued.load(Relaxed) >= due;
            until("nothing more was enqueued", PATIENCE, is_due).await?;
            self.act(act, &mut later).await?;
        }
        while later.join_next().await.is_some() {}
        Ok(())
    }

    async fn act(&mut self, act: Act, later: &mut JoinSet<()>) -> anyhow::Result<()> {
        if matches!(act, Act::Deploy | Act::Orphan) {
            // A process that is paused hears of nothing.
            while later.join_next().await.is_some() {}
            return match act {
                Act::Deploy => self.fleet.deploy().await,
                _ => self.fleet.orphan().await,
            };
        }
        if act == Act::Burst {
            let (proxy, usual) = (Arc::clone(&self.proxy), self.faults);
            proxy.strike(BURST);
            later.spawn(async move {
                sleep(Duration::from_secs(2)).await;
                proxy.strike(usual);
            });
            return Ok(());
        }
        let (mut worker, rng) = (None, &mut self.rng);
        let is_there = || {
            worker = rng.choice(self.fleet.up());
            worker.is_some()
        };
        until("no process is up", PATIENCE, is_there).await?;
        let worker = worker.context("it was there")?;
        let fleet = Arc::clone(&self.fleet);
        match act {
            Act::Kill => drop(fleet.signal(worker, Signal::Kill)),
            Act::Pause => {
                let pause = LEASE + Duration::from_millis(self.rng.u64(1_000..4_000));
                if fleet.signal(worker, Signal::Stop) {
                    later.spawn(async move {
                        sleep(pause).await;
                        fleet.signal(worker, Signal::Cont);
                    });
                }
            }
            Act::Roll => {
                let old = fleet.role(worker) == Some(Role::Old);
                let role = if old { Role::New } else { Role::Old };
                later.spawn(async move { fleet.roll(worker, role).await });
            }
            Act::Burst | Act::Deploy | Act::Orphan => {}
        }
        Ok(())
    }
}
