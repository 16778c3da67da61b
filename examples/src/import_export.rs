//! Import and export: a large CSV comes in, in chunks, with progress, and goes out again.
//!
//! ```text
//! cargo run --bin import-export
//! ```
//!
//! **The problem.** A file of a hundred thousand rows takes minutes. One job for all of it would
//! begin anew after every crash and every deploy, and nobody could see how far it is.
//!
//! **The answer.** A job looks where the rows are and enqueues one job for each chunk. Chunks run side
//! by side, in any process, and each is tried again by itself. The last one enqueues the export.
//!
//! What matters in real life:
//! - Messages say where a chunk is (a file, an offset, a number of rows) and do not hold it.
//! - A row is put under its key, so a chunk that runs twice changes nothing.
//! - Progress is the *set* of chunks that are done, for each file. A counter would count one twice.
//! - Bad rows are noted with their line, and do not fail the rest: trying again would not mend them.
//! - Rows may have line breaks within quotes, so offsets are found by a CSV reader.
//! - The export is written beside the old one, under a name of its own, and renamed: nobody reads
//!   half a file, and two that write at the same time leave each other alone.

#![allow(clippy::print_stdout, reason = "it shows what it does")]

mod support;

use std::collections::{BTreeMap, BTreeSet};
use std::fs::File;
use std::io::Write;
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex, MutexGuard};

use anyhow::Context;
use job_core::prelude::*;
use job_memory::MemoryBackend;
use serde::{Deserialize, Serialize};
use tempfile::NamedTempFile;
use tokio::task::spawn_blocking;

const QUEUE: &str = "files";

/// How many rows are a job: some seconds of work is a good size.
const CHUNK: u64 = 10_000;

/// Where a chunk begins, and what it is called.
#[derive(Clone, Copy, Debug, Serialize, Deserialize)]
struct Chunk {
    number: usize,
    of: usize,
    byte: u64,
    line: u64,
}

// --- The jobs ------------------------------------------------------------------------------------

/// Finds the chunks. It may run twice, and then enqueues them twice: see above.
#[job(queue = "files")]
async fn import(file: PathBuf, cx: JobContext) -> Result<(), JobError> {
    let found = file.clone();
    let starts = spawn_blocking(move || chunks_of(&found)).await??;
    let of = starts.len();
    println!("{}: {of} chunks", name(&file));
    let jobs = starts.into_iter().enumerate().map(|(index, (byte, line))| ImportChunk {
        file: file.clone(),
        chunk: Chunk { number: index + 1, of, byte, line },
    });
    cx.client().enqueue_all(jobs).await?;
    Ok(())
}

#[job(queue = "files", backoff = exponential("20ms", "200ms"))]
async fn import_chunk(
    file: PathBuf,
    chunk: Chunk,
    shop: Data<Shop>,
    cx: JobContext,
) -> Result<(), JobError> {
    let (shared, path) = (shop.clone(), file.clone());
    spawn_blocking(move || read_chunk(&path, chunk, &shared)).await??;
    if chunk.number == 3 && cx.attempt() == 1 {
        return Err("the database was restarted".into()); // after half of it, say
    }
    let done = shop.progress(&file, chunk);
    println!("{}: chunk {} is done, {done} of {}", name(&file), chunk.number, chunk.of);
    if done == chunk.of {
        cx.client().enqueue(Export { file }).await?;
    }
    Ok(())
}

/// Writes what has come of a file.

#[job(queue = "files")]
async fn export(file: PathBuf, shop: Data<Shop>) -> Result<(), JobError> {
    let shop = shop.clone();
    spawn_blocking(move || shop.export(&file)).await??;
    Ok(())
}

fn name(file: &Path) -> std::path::Display<'_> {
    Path::new(file.file_name().unwrap_or_default()).display()
}

// --- Files ---------------------------------------------------------------------------------------

/// A row as it is in the file.
#[derive(Clone, Debug, Serialize, Deserialize)]
struct Product {
    sku: String,
    name: String,
    cents: u64,
}

/// Byte and line of each chunk's first row.
fn chunks_of(file: &Path) -> anyhow::Result<Vec<(u64, u64)>> {
    let mut reader = csv::Reader::from_path(file)?;
    let (mut starts, mut row) = (Vec::new(), csv::ByteRecord::new());
    let mut index = 0;
    while reader.read_byte_record(&mut row)? {
        if let Some(at) = row.position().filter(|_| index % CHUNK == 0) {
            starts.push((at.byte(), at.line()));
        }
        index += 1;
    }
    Ok(starts)
}

fn read_chunk(file: &Path, chunk: Chunk, shop: &Shop) -> anyhow::Result<()> {
    let mut reader = csv::Reader::from_path(file).context("cannot open the import")?;
    let header = reader.headers()?.clone();
    let mut start = csv::Position::new();
    start.set_byte(chunk.byte).set_line(chunk.line);
    reader.seek(start)?;
    let mut row = csv::StringRecord::new();
    for _ in 0..CHUNK {
        if !reader.read_record(&mut row)? {
            break;
        }
        let line = row.position().map_or(0, csv::Position::line);
        match row.deserialize::<Product>(Some(&header)) {
            Ok(product) => shop.put(file, product),
            // The error's text would repeat the row.
            Err(_) => shop.note(file, line),
        }
    }
    Ok(())
}

// --- The shop ------------------------------------------------------------------------------------

/// Tables, in an app that is more than an example.
#[derive(Default)]
struct Shop(Mutex<BTreeMap<PathBuf, Imported>>);

/// What has come of a file. Two imports may be under way at the same time.
#[derive(Default)]
struct Imported {
    products: BTreeMap<String, Product>,
    bad_lines: BTreeSet<u64>,
    chunks_done: BTreeSet<usize>,
}

impl Shop {
    fn lock(&self) -> MutexGuard<'_, BTreeMap<PathBuf, Imported>> {
        self.0.lock().expect("nobody panics with it")
    }

    fn put(&self, file: &Path, product: Product) {
        self.imported(file, |it| it.products.insert(product.sku.clone(), product));
    }

    fn note(&self, file: &Path, line: u64) {
        self.imported(file, |it| it.bad_lines.insert(line));
    }

    /// How many chunks of the file are done, with this one.
    fn progress(&self, file: &Path, chunk: Chunk) -> usize {
        self.imported(file, |it| {
            it.chunks_done.insert(chunk.number);
            it.chunks_done.len()
        })
    }

    fn export(&self, file: &Path) -> anyhow::Result<()> {
        let folder = file.parent().context("a file without a folder")?;
        let mut writer = csv::Writer::from_writer(NamedTempFile::new_in(folder)?);
        self.imported(file, |it| it.products.values().try_for_each(|it| writer.serialize(it)))?;
        let written = writer.into_inner().context("cannot write the export")?;
        written.persist(file.with_extension("export.csv"))?;
        Ok(())
    }

    fn imported<R>(&self, file: &Path, f: impl FnOnce(&mut Imported) -> R) -> R {
        f(self.lock().entry(file.to_owned()).or_default())
    }
}

#[tokio::main]
async fn main() -> anyhow::Result<()> {
    let folder = tempfile::tempdir()?;
    let files = [("products.csv", 100_000), ("extras.csv", 25_000)]
        .map(|(name, rows)| (folder.path().join(name), rows));
    let client = Client::new(MemoryBackend::new());
    for (file, rows) in &files {
        write_products(file, *rows)?;
        client.enqueue(Import { file: file.clone() }).await?;
    }

    let shop = Arc::new(Shop::default());
    let worker = Worker::builder(&client)
        .data_arc(shop.clone())
        .queue(Queue::new(QUEUE).concurrency(4))
        .build()?;
    let report = worker.run_until(support::until_empty(&client, &[QUEUE])).await?;

    println!();
    for (file, Imported { products, bad_lines, .. }) in shop.lock().iter() {
        println!("{}: {} products, bad lines: {bad_lines:?}", name(file), products.len());
        let rows =
            csv::Reader::from_path(file.with_extension("export.csv"))?.into_records().count();
        println!("{}: {rows} rows exported", name(file));
    }
    println!("{report}");
    Ok(())
}

/// One in fifty thousand is bad, and each has a line break in its name.
fn write_products(file: &Path, rows: u32) -> anyhow::Result<()> {
    let mut file = std::io::BufWriter::new(File::create(file)?);
    writeln!(file, "sku,name,cents")?;
    for number in 1..=rows {
        let cents = if number % 50_000 == 0 { "free" } else { "995" };
        writeln!(file, "P-{number:06},\"Cup,\nno. {number}\",{cents}")?;
    }
    file.flush()?;
    Ok(())
}
