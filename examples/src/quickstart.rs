//! Makes thumbnails of pictures: a producer puts one job a picture on a queue, a worker runs them.
//!
//! ```text
//! cargo run --bin quickstart                       # the pictures in examples/assets
//! cargo run --bin quickstart -- --dir ~/Pictures   # your own
//! cargo run --bin quickstart -- --backend azure    # on Azurite or a storage account
//! ```
//!
//! Two things go wrong on purpose. The store refuses one picture twice, and the worker tries it
//! again until it gets it. Another picture is damaged for good, and ends in the poison queue.
//!
//! A queue that outlives the program may hold jobs of an earlier run. They are run as well, but
//! not shown.

#![allow(clippy::print_stdout, clippy::print_stderr, reason = "it shows what it does")]

use std::collections::{BTreeMap, HashSet};
use std::io::{self, Cursor, IsTerminal};
use std::path::{Path, PathBuf};
use std::process::ExitCode;
use std::sync::Arc;
use std::sync::atomic::{AtomicU32, Ordering};
use std::time::Duration;

use anyhow::{Context, bail, ensure};
use image::{DynamicImage, ImageFormat, ImageReader};
use job_azure::AzureBackend;
use job_core::JobId;
use job_core::backend::Backend;
use job_core::prelude::*;
use job_memory::MemoryBackend;
use tokio::sync::mpsc;
use tokio::task::spawn_blocking;
use tokio::time::{MissedTickBehavior, interval, sleep};

// --- The job -------------------------------------------------------------------------------------

/// Makes one thumbnail.
///
/// `picture` travels in the message; the rest is given to the function by the worker that runs it.
#[job(queue = "thumbnails", max_attempts = 5, backoff = exponential("50ms", "1s"), timeout = "20s")]
async fn make_thumbnail(
    picture: String,
    store: Data<dyn PictureStore>,
    album: Data<Album>,
    cx: JobContext,
) -> Result<(), JobError> {
    let (job, attempt) = (cx.id(), cx.attempt());
    // Work on images would keep this thread from running other jobs.
    spawn_blocking(move || {
        let bytes = store.read(&picture)?; // any error: tried again, by the backoff
        let image = decode(&bytes).or_permanent()?; // it would fail again: to the poison queue
        album.add(&picture, &shrink(&image), job, attempt)?;
        Ok(())
    })
    .await?
}

const QUEUE: &str = "thumbnails";

/// Where pictures come from: a trait, so that it can be a folder here and a bucket in production.
trait PictureStore: Send + Sync {
    fn read(&self, picture: &str) -> io::Result<Vec<u8>>;
}

/// Where thumbnails go. What was made is also told to the main program.
struct Album {
    folder: PathBuf,
    made: mpsc::UnboundedSender<Made>,
}

/// A thumbnail that is there.
struct Made {
    job: JobId,
    picture: String,
    size: (u32, u32),
    attempt: u32,
}

impl Album {
    fn add(
        &self,
        picture: &str,
        thumbnail: &DynamicImage,
        job: JobId,
        attempt: u32,
    ) -> anyhow::Result<()> {
        let path = self.folder.join(thumbnail_name(picture));
        thumbnail.save(&path).with_context(|| format!("cannot write {}", path.display()))?;
        let size = (thumbnail.width(), thumbnail.height());
        self.made.send(Made { job, picture: picture.to_owned(), size, attempt })?;
        Ok(())
    }
}

/// Thumbnails are PNG whatever the picture was. The whole name is kept: there may be a `cat.jpg`
/// and a `cat.png`.
fn thumbnail_name(picture: &str) -> String {
    format!("{picture}.png")
}

// --- The program ---------------------------------------------------------------------------------

#[tokio::main]
async fn main() -> ExitCode {
    run().await.unwrap_or_else(|error| {
        eprintln!("error: {error:#}");
        ExitCode::FAILURE
    })
}

async fn run() -> anyhow::Result<ExitCode> {
    let Some(args) = Args::parse(std::env::args_os().skip(1))? else {
        print!("{HELP}");
        return Ok(ExitCode::SUCCESS);
    };
    // The worker logs every attempt that fails: RUST_LOG=warn shows it.
    let filter = std::env::var("RUST_LOG").unwrap_or_else(|_| "error".to_owned());
    tracing_subscriber::fmt()
        .with_env_filter(filter)
        .with_writer(io::stderr)
        .with_ansi(io::stderr().is_terminal())
        .init();

    let pictures = pictures_in(&args.pictures)?;
    let folder = prepare_album(&args, &pictures)?;
    println!("{} pictures in {}", pictures.len(), args.pictures.display());

    // The kind of queue. All that follows is the same for each.
    let backend: Arc<dyn Backend> = match args.backend {
        Kind::Memory => Arc::new(MemoryBackend::new()),
        Kind::Azure => Arc::new(AzureBackend::from_env()?),
    };

    // The producer.
    let client = Client::from_arc(backend);
    let jobs = pictures.iter().cloned().map(|picture| MakeThumbnail { picture });
    let ids = client.enqueue_all(jobs).await?;
    println!("{} jobs on the queue `{QUEUE}`", ids.len());
    let own = HashSet::from_iter(ids.iter().copied());

    // The worker. It finds the job by itself, and would not start without the data that it needs.
    let (made, mut news) = mpsc::unbounded_channel();
    let worker = Worker::builder(&client)
        .data_arc::<dyn PictureStore>(args.store())
        .data(Album { folder: folder.clone(), made })
        .queue(Queue::new(QUEUE).concurrency(4))
        .build()?;
    let handle = worker.handle();
    let mut running = tokio::spawn(worker.run());

    // A worker runs until it is told to stop: here, when there is nothing left to do.
    let mut album = BTreeMap::new();
    let limit = args.time_limit(pictures.len());
    println!("\nmade:");
    tokio::select! {
        done = until_done(&client, &own, &mut news, &mut album) => done?,
        ended = &mut running => bail!("the worker ended too soon: {}", ended??),
        () = sleep(limit) => bail!(
            "not done after {limit:?}: {} of {} thumbnails are made; RUST_LOG=warn shows what fails",
            album.len(),
            pictures.len(),
        ),
    }
    handle.shutdown();
    let report = running.await??;

    // What could not be done waits in the poison queue with its reason, to be looked at and
    // perhaps replayed.
    let poison = client.poison(QUEUE)?;
    let mut failed = BTreeMap::new();
    for (id, picture) in ids.iter().zip(&pictures) {
        if album.contains_key(picture) {
            continue;
        }
        let Some(job) = poison.show(*id).await? else { continue };
        if failed.is_empty() {
            println!("\nin the poison queue:");
        }
        let error = job.error().unwrap_or("no error");
        let why = format!("{} at attempt {}: {error}", job.reason(), job.attempts());
        println!("  {picture:<16} {why}");
        failed.insert(picture.as_str(), why);
    }
    println!("\nthe worker's report: {report}");

    let mut problems = check_album(&folder, &album);
    if album.len() + failed.len() != pictures.len() {
        problems.push("some pictures were neither made nor given up".to_owned());
    }
    if report.completed() + report.poisoned() > pictures.len() as u64 {
        // They may have met the mishaps that were meant for these.
        println!("jobs of an earlier run were on the queue, and are done now too");
    } else if args.is_demo() {
        problems.extend(check_demo(&album, &failed));
    }
    if problems.is_empty() {
        println!("all as expected; the thumbnails are in {}", folder.display());
        return Ok(ExitCode::SUCCESS);
    }
    for problem in problems {
        println!("UNEXPECTED: {problem}");
    }
    Ok(ExitCode::FAILURE)
}

/// Shows what is made, until the queue is empty: then every job is done or in the poison queue.
async fn until_done(
    client: &Client,
    own: &HashSet<JobId>,
    news: &mut mpsc::UnboundedReceiver<Made>,
    album: &mut BTreeMap<String, Made>,
) -> anyhow::Result<()> {
    let queue = QueueName::new(QUEUE)?;
    let mut look = interval(LOOK);
    look.set_missed_tick_behavior(MissedTickBehavior::Delay);
    let mut show = |made: Made| {
        if own.contains(&made.job) {
            show(made, album);
        }
    };
    loop {
        tokio::select! {
            Some(made) = news.recv() => show(made),
            _ = look.tick() => {
                if client.backend().stats(&queue).await?.total == 0 {
                    break;
                }
            }
        }
    }
    // A job tells its news before it is done.
    while let Ok(made) = news.try_recv() {
        show(made);
    }
    Ok(())
}

/// How often to look whether the queue is empty. A look at a storage account is a request.
const LOOK: Duration = Duration::from_millis(100);

fn show(made: Made, album: &mut BTreeMap<String, Made>) {
    let Made { picture, size: (width, height), attempt, .. } = &made;
    let retried = if *attempt > 1 { format!(", at attempt {attempt}") } else { String::new() };
    println!("  {picture:<16} thumbnail of {width}x{height}{retried}");
    album.insert(picture.clone(), made);
}

// --- Images --------------------------------------------------------------------------------------

/// The most that a thumbnail may measure, in both directions.
const BOX: u32 = 160;

fn decode(bytes: &[u8]) -> image::ImageResult<DynamicImage> {
    ImageReader::new(Cursor::new(bytes)).with_guessed_format()?.decode()
}

/// Keeps the shape, and leaves alone what is small enough.
fn shrink(image: &DynamicImage) -> DynamicImage {
    let small = if image.width() <= BOX && image.height() <= BOX {
        image.clone()
    } else {
        image.thumbnail(BOX, BOX)
    };
    // PNG takes 8 bits of every colour; some pictures have more.
    small.into_rgba8().into()
}

// --- Stores --------------------------------------------------------------------------------------

/// Pictures in a folder.
struct Folder(PathBuf);

impl PictureStore for Folder {
    fn read(&self, picture: &str) -> io::Result<Vec<u8>> {
        std::fs::read(self.0.join(picture))
    }
}

/// A store with a bad moment: it refuses one picture twice.
struct Flaky<S> {
    store: S,
    refusals_left: AtomicU32,
}

impl<S: PictureStore> PictureStore for Flaky<S> {
    fn read(&self, picture: &str) -> io::Result<Vec<u8>> {
        let refuse = |left: u32| left.checked_sub(1);
        if picture == REFUSED_TWICE
            && self.refusals_left.fetch_update(Ordering::Relaxed, Ordering::Relaxed, refuse).is_ok()
        {
            return Err(io::Error::other("the picture store is busy"));
        }
        self.store.read(picture)
    }
}

// --- Command line --------------------------------------------------------------------------------

const HELP: &str = "\
Makes thumbnails of pictures, each as a background job.

Usage: quickstart [--dir PATH] [--out PATH] [--backend KIND]

  --dir PATH       take the JPEG and PNG files in that folder, instead of examples/assets
  --out PATH       where the thumbnails go, instead of target/quickstart
  --backend KIND   where the queue is: memory, unless it is azure
  --help           this text

Azure Queue Storage is found by AZURE_STORAGE_CONNECTION_STRING, which for Azurite, the emulator,
is UseDevelopmentStorage=true; or by AZURE_STORAGE_QUEUE_ENDPOINT, with the identity of `az login`.

RUST_LOG=warn shows what the worker logs.
";

const ASSETS: &str = concat!(env!("CARGO_MANIFEST_DIR"), "/assets");
const THUMBNAILS: &str = concat!(env!("CARGO_MANIFEST_DIR"), "/../target/quickstart");

struct Args {
    pictures: PathBuf,
    thumbnails: PathBuf,
    backend: Kind,
}

/// Where the queue is.
enum Kind {
    Memory,
    Azure,
}

impl Kind {
    fn parse(name: &str) -> anyhow::Result<Self> {
        match name {
            "memory" => Ok(Self::Memory),
            "azure" => Ok(Self::Azure),
            _ => bail!("unknown backend {name}: choose memory or azure"),
        }
    }
}

impl Args {
    /// `None` if help is wanted.
    fn parse(args: impl IntoIterator<Item = std::ffi::OsString>) -> anyhow::Result<Option<Self>> {
        let mut parsed =
            Self { pictures: ASSETS.into(), thumbnails: THUMBNAILS.into(), backend: Kind::Memory };
        let mut args = args.into_iter();
        while let Some(arg) = args.next() {
            let mut next = |what| {
                args.next().with_context(|| format!("{} needs {what} after it", arg.display()))
            };
            match arg.to_str() {
                Some("--dir") => parsed.pictures = next("a path")?.into(),
                Some("--out") => parsed.thumbnails = next("a path")?.into(),
                Some("--backend") => {
                    parsed.backend = Kind::parse(&next("memory or azure")?.to_string_lossy())?;
                }
                Some("--help" | "-h") => return Ok(None),
                _ => bail!("unknown argument {}\n\n{HELP}", arg.display()),
            }
        }
        Ok(Some(parsed))
    }

    /// Whether it is the project's own pictures, of which it is known what will go wrong.
    fn is_demo(&self) -> bool {
        self.pictures == Path::new(ASSETS)
    }

    fn store(&self) -> Arc<dyn PictureStore> {
        let folder = Folder(self.pictures.clone());
        if self.is_demo() {
            Arc::new(Flaky { store: folder, refusals_left: AtomicU32::new(2) })
        } else {
            Arc::new(folder)
        }
    }

    fn time_limit(&self, pictures: usize) -> Duration {
        // A run that was killed has left its jobs under leases of a minute, and all are waited for.
        let leases = match self.backend {
            Kind::Memory => Duration::ZERO,
            Kind::Azure => MINUTE,
        };
        let more = if self.is_demo() { 0 } else { u32::try_from(pictures).unwrap_or(u32::MAX) };
        30 * SECOND + leases + SECOND.saturating_mul(more)
    }
}

/// The names of the pictures in a folder, in order.
fn pictures_in(folder: &Path) -> anyhow::Result<Vec<String>> {
    let entries = std::fs::read_dir(folder)
        .with_context(|| format!("cannot read the folder {}", folder.display()))?;
    let mut pictures = Vec::new();
    for entry in entries {
        let path = entry?.path();
        let format = ImageFormat::from_path(&path);
        if matches!(format, Ok(ImageFormat::Jpeg | ImageFormat::Png)) && path.is_file() {
            let name = path.file_name().and_then(|name| name.to_str());
            let name = name.with_context(|| format!("{} has no UTF-8 name", path.display()))?;
            pictures.push(name.to_owned());
        }
    }
    ensure!(!pictures.is_empty(), "there is no JPEG or PNG file in {}", folder.display());
    pictures.sort();
    Ok(pictures)
}

/// Makes the folder for thumbnails, and removes what an earlier run left there, which could pass
/// for new.
fn prepare_album(args: &Args, pictures: &[String]) -> anyhow::Result<PathBuf> {
    let cannot = || format!("cannot write to the folder {}", args.thumbnails.display());
    std::fs::create_dir_all(&args.thumbnails).with_context(cannot)?;
    let folder = args.thumbnails.canonicalize().with_context(cannot)?;
    ensure!(
        folder != args.pictures.canonicalize()?,
        "thumbnails need another folder than the pictures: choose one with --out"
    );
    for picture in pictures {
        match std::fs::remove_file(folder.join(thumbnail_name(picture))) {
            Err(error) if error.kind() != io::ErrorKind::NotFound => {
                return Err(error).with_context(cannot);
            }
            _ => {}
        }
    }
    Ok(folder)
}

// --- Checks: this program is also a test ---------------------------------------------------------

/// The project's own pictures, with the sizes their thumbnails must have.
const EXPECTED: [(&str, (u32, u32)); 5] = [
    ("circles.png", (160, 107)),
    ("mandelbrot.jpg", (160, 120)),
    ("plasma.jpg", (160, 120)),
    ("spiral.jpg", (160, 160)),
    ("sunset.png", (107, 160)),
];
const REFUSED_TWICE: &str = "sunset.png";
const DAMAGED: &str = "damaged.png";

/// Whether every thumbnail is an image of the size that it was said to have.
fn check_album(folder: &Path, album: &BTreeMap<String, Made>) -> Vec<String> {
    let mut problems = Vec::new();
    for Made { picture, size, .. } in album.values() {
        match image::open(folder.join(thumbnail_name(picture))) {
            Ok(image) if (image.width(), image.height()) == *size => {}
            Ok(_) => problems.push(format!("the thumbnail of {picture} has the wrong size")),
            Err(error) => problems.push(format!("the thumbnail of {picture} is none: {error}")),
        }
    }
    problems
}

/// Whether the project's own pictures went as they should, mishaps included.
fn check_demo(album: &BTreeMap<String, Made>, failed: &BTreeMap<&str, String>) -> Vec<String> {
    let mut problems = Vec::new();
    let mut check = |holds: bool, problem: String| {
        if !holds {
            problems.push(problem);
        }
    };
    for (picture, expected) in EXPECTED {
        let size = album.get(picture).map(|made| made.size);
        check(size == Some(expected), format!("{picture}: {size:?} instead of {expected:?}"));
        let attempt = album.get(picture).map_or(0, |made| made.attempt);
        let expected = if picture == REFUSED_TWICE { 3 } else { 1 };
        check(attempt == expected, format!("{picture}: attempt {attempt} instead of {expected}"));
    }
    check(album.len() == EXPECTED.len(), format!("{} thumbnails", album.len()));
    check(
        failed.len() == 1 && failed.get(DAMAGED).is_some_and(|why| why.starts_with("permanent")),
        format!("in the poison queue: {failed:?}"),
    );
    problems
}
