//! Four promises, each with a site of its own: processes of the web, of workers, and of Azurite.

use std::fmt;
use std::fs;
use std::time::{Duration, Instant};

use crate::load::{CROWD, Visitor, all_done, p99, upload};
use crate::support::{Site, Stopped};

/// How much of everything.
pub(crate) struct Size {
    /// What is asserted of times; nothing where others are at work on the machine.
    pub(crate) least: Option<Least>,
    /// Pictures that wait for workers, each of which takes so long (and computes next to nothing).
    pub(crate) backlog: usize,
    pub(crate) scan: Duration,
    pub(crate) processes: &'static [usize],
    /// How often the page is opened while nothing else happens.
    pub(crate) idle: usize,
    /// Uploads as fast as a crowd can send them.
    pub(crate) spike: usize,
    /// How long something is away, and how many uploads arrive meanwhile.
    pub(crate) outage: Duration,
    pub(crate) in_outage: usize,
}

/// The least that is good enough.
pub(crate) struct Least {
    /// How much of what a further process could add at most it adds: they wait rather than compute.
    pub(crate) gain: f64,
    /// Within what time 99 of 100 pages are there during a spike.
    pub(crate) p99: Duration,
}

/// What was seen. All that has to hold was asserted on the way.
pub(crate) struct Table {
    rows: Vec<[String; 2]>,
}

pub(crate) async fn run(size: &Size) -> Table {
    let mut rows = Vec::new();
    scale(size, &mut rows).await;
    absorb_a_spike(size, &mut rows).await;
    outlast_the_store(size, &mut rows).await;
    outlast_the_workers(size, &mut rows).await;
    Table { rows }
}

/// A backlog that two web processes take, for more and more worker processes.
async fn scale(size: &Size, rows: &mut Vec<[String; 2]>) {
    let mut first = None;
    for &processes in size.processes {
        let site = Site::new();
        let webs = [site.web(), site.web()];
        let visitors = webs.each_ref().map(|web| Visitor::new(&web.url));
        let ids = upload(&visitors, size.backlog).await;
        let start = Instant::now();
        let workers = site.workers(processes, size.scan);
        all_done(site.disk.path(), ids).await;
        let took = start.elapsed().as_secs_f64();
        // Whoever has made some of them did so beside the others: as long as pictures are left, all
        // who are there have their hands full.
        let Stopped { busy, .. } = workers.stop_after(size.backlog);
        assert_eq!(busy, processes, "processes that have made thumbnails");
        let times = *first.get_or_insert(took) / took;
        if let Some(least) = &size.least {
            assert!(
                times >= least.gain * processes as f64,
                "{processes}: {times:.1} times as fast"
            );
        }
        let faster =
            if times > 1.0 { format!(", {times:.1} times as fast") } else { String::new() };
        rows.push([
            format!("{} pictures in the queue, worker processes: {processes}", size.backlog),
            format!("done in {took:.1} s{faster}"),
        ]);
    }
}

/// A spike becomes a backlog, and the page goes on answering.
async fn absorb_a_spike(size: &Size, rows: &mut Vec<[String; 2]>) {
    let site = Site::new();
    let (web, workers) = (site.web(), site.workers(2, Duration::ZERO));
    let visitor = Visitor::new(&web.url);
    let mut idle = Vec::new();
    for _ in 0..size.idle {
        idle.push(visitor.open_page().await);
    }

    let (start, mut meanwhile) = (Instant::now(), Vec::new());
    let visitors = [visitor.clone()];
    let mut spike = std::pin::pin!(upload(&visitors, size.spike));
    let ids = loop {
        tokio::select! {
            ids = &mut spike => break ids,
            time = visitor.open_page() => meanwhile.push(time),
        }
    };
    let taken = start.elapsed();
    all_done(site.disk.path(), ids).await;
    let done = start.elapsed();
    workers.stop_after(size.spike);
    rows.push([
        format!("{} uploads by {CROWD} visitors", size.spike),
        format!(
            "all taken in {:.1} s, done after {:.1} s",
            taken.as_secs_f64(),
            done.as_secs_f64()
        ),
    ]);
    // A small spike may be over before the page has been opened once.
    let meanwhile = if meanwhile.is_empty() { vec![visitor.open_page().await] } else { meanwhile };
    let openings = meanwhile.len();
    let (meanwhile, idle) = (p99(meanwhile), p99(idle));
    if let Some(least) = &size.least {
        assert!(meanwhile <= least.p99, "p99 of the page in a spike: {meanwhile:?}");
    }
    let ms = |time: Duration| time.as_secs_f64() * 1e3;
    rows.push([
        format!("the page meanwhile, opened {openings} times"),
        format!("p99 {:.1} ms; {:.1} ms when idle", ms(meanwhile), ms(idle)),
    ]);
}

/// The store for thumbnails is away: uploads are taken, and their thumbnails come later.
async fn outlast_the_store(size: &Size, rows: &mut Vec<[String; 2]>) {
    let site = Site::new();
    let (web, workers) = (site.web(), site.workers(2, Duration::ZERO));
    let (here, away) = (site.disk.path().join("thumbnails"), site.disk.path().join("away"));
    // The workers are there, and have used it.
    let visitor = Visitor::new(&web.url);
    all_done(site.disk.path(), vec![visitor.upload().await]).await;

    fs::rename(&here, &away).expect("the disk is ours");
    let ids = trickle(size, &visitor).await;
    workers.wait_for_a_failure();
    fs::rename(&away, &here).expect("the disk is ours");
    let start = Instant::now();
    all_done(site.disk.path(), ids).await;
    rows.push(outage("the store for thumbnails", size, start.elapsed()));
    let Stopped { report, .. } = workers.stop_after(size.in_outage + 1);
    assert!(report.contains(" retried"), "{report}");
}

/// No worker is there: the same.
async fn outlast_the_workers(size: &Size, rows: &mut Vec<[String; 2]>) {
    let site = Site::new();
    let (web, workers) = (site.web(), site.workers(2, Duration::ZERO));
    let visitor = Visitor::new(&web.url);
    all_done(site.disk.path(), vec![visitor.upload().await]).await;

    workers.stop_after(1);
    let ids = trickle(size, &visitor).await;
    let start = Instant::now();
    let workers = site.workers(2, Duration::ZERO);
    all_done(site.disk.path(), ids).await;
    rows.push(outage("every worker", size, start.elapsed()));
    workers.stop_after(size.in_outage);
}

/// Uploads in the course of an outage. Each must be taken, and the page be there.
async fn trickle(size: &Size, visitor: &Visitor) -> Vec<String> {
    let mut ids = Vec::new();
    let mut pace = tokio::time::interval(size.outage / size.in_outage as u32);
    for _ in 0..size.in_outage {
        pace.tick().await;
        ids.push(visitor.upload().await);
        visitor.open_page().await;
    }
    ids
}

fn outage(what: &str, size: &Size, after: Duration) -> [String; 2] {
    let (seconds, uploads) = (size.outage.as_secs(), size.in_outage);
    [
        format!("{what} is away for {seconds} s"),
        format!(
            "{uploads} of {uploads} uploads taken, all done {:.1} s later",
            after.as_secs_f64()
        ),
    ]
}

impl fmt::Display for Table {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        writeln!(f, "| what happens | and then |\n|---|---|")?;
        self.rows.iter().try_for_each(|[what, then]| writeln!(f, "| {what} | {then} |"))
    }
}
