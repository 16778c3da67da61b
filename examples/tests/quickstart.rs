//! Runs the quickstart as a person would, and reads what it says.

use std::net::TcpListener;
use std::path::{Path, PathBuf};
use std::process::{Command, Output};
use std::time::{Duration, Instant};

use job_azurite::Azurite;

#[test]
fn the_projects_own_pictures() {
    let out = Scratch::new("own");
    let run = quickstart(&["--out".as_ref(), out.path()]);
    let text = text(&run);
    assert!(run.status.success(), "{text}");

    for (picture, size, attempt) in [
        ("circles.png", (160, 107), ""),
        ("mandelbrot.jpg", (160, 120), ""),
        ("plasma.jpg", (160, 120), ""),
        ("spiral.jpg", (160, 160), ""),
        ("sunset.png", (107, 160), ", at attempt 3"),
    ] {
        let (width, height) = size;
        let line = format!("  {picture:<16} thumbnail of {width}x{height}{attempt}\n");
        assert_eq!(text.matches(&line).count(), 1, "{line} in {text}");
        let thumbnail = image::open(out.path().join(format!("{picture}.png"))).unwrap();
        assert_eq!((thumbnail.width(), thumbnail.height()), size, "{picture}");
        assert!(is_picture(&thumbnail), "{picture} is of one colour");
    }
    assert_eq!(files_in(out.path()), 5);

    let poison = text.split_once("in the poison queue:\n").expect(&text).1;
    let line = poison.lines().next().expect(&text);
    assert!(line.starts_with("  damaged.png      permanent error at attempt 1: "), "{line}");
    assert!(!line.ends_with(": no error"), "{line}");

    assert!(text.contains("the worker's report: "), "{text}");
    assert!(text.contains("5 completed, 2 retried, 1 poisoned"), "{text}");
    assert!(text.contains("all as expected"), "{text}");
}

/// The second run finds what the first one left in the poison queue.
#[test]
fn the_same_in_memory_and_on_azurite() {
    let out = Scratch::new("azure");
    let said = |backend: &str| {
        let connection = Azurite::shared().connection_string();
        let run = command(&["--out".as_ref(), out.path(), "--backend".as_ref(), backend.as_ref()])
            .env("AZURE_STORAGE_CONNECTION_STRING", connection)
            .output()
            .expect("the program starts");
        let text = text(&run);
        assert!(run.status.success(), "{text}");
        // Thumbnails are made side by side.
        let mut lines: Vec<_> = text.lines().map(ToOwned::to_owned).collect();
        lines.sort();
        lines
    };
    let in_memory = said("memory");
    assert_eq!(said("azure"), in_memory);
    assert_eq!(said("azure"), in_memory);
}

#[test]
fn without_an_account_the_variables_are_named() {
    let run = command(&["--backend".as_ref(), "azure".as_ref()]).output().unwrap();
    assert!(!run.status.success());
    assert_eq!(
        String::from_utf8_lossy(&run.stderr),
        "error: set AZURE_STORAGE_CONNECTION_STRING, or AZURE_STORAGE_QUEUE_ENDPOINT to the URL \
         of the queue service\n"
    );
}

#[test]
fn where_nothing_listens_it_says_so_and_ends() {
    let out = Scratch::new("closed");
    let port = TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap().port();
    let start = Instant::now();
    let run = command(&["--backend".as_ref(), "azure".as_ref(), "--out".as_ref(), out.path()])
        .env(
            "AZURE_STORAGE_CONNECTION_STRING",
            format!(
                "UseDevelopmentStorage=true;DevelopmentStorageProxyUri=http://127.0.0.1:{port}"
            ),
        )
        .output()
        .unwrap();
    // 12 s, and what a busy machine adds.
    assert!(start.elapsed() < Duration::from_secs(40), "{:?}", start.elapsed());
    let said = String::from_utf8_lossy(&run.stderr);
    assert!(!run.status.success() && said.starts_with("error: 6 of 6 jobs failed"), "{said}");
    assert!(said.contains("no connection: connection refused; check the account"), "{said}");
    assert_eq!(said.lines().count(), 1, "{said}");
}

#[test]
fn a_run_replaces_what_an_earlier_one_left() {
    let out = Scratch::new("again");
    let old = out.path().join("plasma.jpg.png");
    std::fs::write(&old, "not a picture").unwrap();
    let run = quickstart(&["--out".as_ref(), out.path()]);
    assert!(run.status.success(), "{}", text(&run));
    assert!(image::open(old).is_ok());
}

#[test]
fn someone_elses_pictures() {
    let (dir, out) = (Scratch::new("else"), Scratch::new("else-out"));
    let save = |name: &str, width, height| {
        image::RgbImage::new(width, height).save(dir.path().join(name)).unwrap();
    };
    save("wide one.png", 400, 100);
    save("tiny.jpg", 3, 2);
    save("thin.PNG", 2000, 1);
    std::fs::write(dir.path().join("empty.jpg"), "").unwrap();
    std::fs::write(dir.path().join("text.png"), "hello").unwrap();
    std::fs::write(dir.path().join("notes.txt"), "no picture, and not taken for one").unwrap();

    let run = quickstart(&["--dir".as_ref(), dir.path(), "--out".as_ref(), out.path()]);
    let text = text(&run);
    assert!(run.status.success(), "{text}");
    for (picture, size) in
        [("wide one.png", (160, 40)), ("tiny.jpg", (3, 2)), ("thin.PNG", (160, 1))]
    {
        let thumbnail = image::open(out.path().join(format!("{picture}.png"))).unwrap();
        assert_eq!((thumbnail.width(), thumbnail.height()), size, "{picture}");
    }
    assert_eq!(files_in(out.path()), 3);
    let poison = text.split_once("in the poison queue:\n").expect(&text).1;
    assert!(poison.contains("  empty.jpg        permanent error at attempt 1: "), "{text}");
    assert!(poison.contains("  text.png         permanent error at attempt 1: "), "{text}");
    assert!(!text.contains("notes.txt"), "{text}");
}

#[test]
fn what_cannot_work_is_said_at_once() {
    let (empty, out) = (Scratch::new("empty"), Scratch::new("empty-out"));
    let fails = |args: &[&Path], why: &str| {
        let run = quickstart(args);
        let said = String::from_utf8_lossy(&run.stderr);
        assert!(!run.status.success() && said.contains(why), "{said}");
    };
    let missing = empty.path().join("missing");
    fails(&["--dir".as_ref(), empty.path()], "there is no JPEG or PNG file in ");
    fails(&["--dir".as_ref(), &missing], "cannot read the folder ");
    fails(&["--dir".as_ref()], "--dir needs a path after it");
    fails(&["--color".as_ref()], "unknown argument --color");
    fails(&["--backend".as_ref()], "--backend needs memory or azure after it");
    fails(&["--backend".as_ref(), "redis".as_ref()], "unknown backend redis: choose memory or az");
    std::fs::write(out.path().join("a.png"), "").unwrap();
    fails(&["--dir".as_ref(), out.path(), "--out".as_ref(), out.path()], "another folder");
}

#[test]
fn help() {
    let run = quickstart(&["--help".as_ref()]);
    assert!(run.status.success());
    assert!(text(&run).contains("Usage: quickstart [--dir PATH] [--out PATH] [--backend KIND]"));
}

fn quickstart(args: &[&Path]) -> Output {
    command(args).output().expect("the program starts")
}

/// The program, told nothing by the environment that the test runs in.
fn command(args: &[&Path]) -> Command {
    let mut command = Command::new(env!("CARGO_BIN_EXE_quickstart"));
    let told = ["RUST_LOG", "AZURE_STORAGE_CONNECTION_STRING", "AZURE_STORAGE_QUEUE_ENDPOINT"];
    told.iter().fold(command.args(args), |command, name| command.env_remove(name));
    command
}

/// What it says. What it logs besides is one line for each picture that has failed for good.
fn text(run: &Output) -> String {
    let text = String::from_utf8(run.stdout.clone()).expect("UTF-8");
    let log = String::from_utf8_lossy(&run.stderr);
    let failed = log.matches(" job failed for good; to the poison queue").count();
    assert_eq!(log.lines().count(), failed, "something else goes wrong: {log}");
    assert_eq!(text.matches("permanent error at attempt").count(), failed, "{log}");
    text
}

fn files_in(folder: &Path) -> usize {
    std::fs::read_dir(folder).unwrap().count()
}

fn is_picture(image: &image::DynamicImage) -> bool {
    let pixels = image.to_rgb8();
    let first = pixels.get_pixel(0, 0);
    pixels.pixels().any(|pixel| pixel != first)
}

/// A folder of a test's own, removed with it.
struct Scratch(PathBuf);

impl Scratch {
    fn new(name: &str) -> Self {
        let folder = Path::new(env!("CARGO_TARGET_TMPDIR"))
            .join(format!("quickstart-{name}-{}", std::process::id()));
        std::fs::create_dir_all(&folder).expect("a folder");
        Self(folder)
    }

    fn path(&self) -> &Path {
        &self.0
    }
}

impl Drop for Scratch {
    fn drop(&mut self) {
        let _ = std::fs::remove_dir_all(&self.0);
    }
}
