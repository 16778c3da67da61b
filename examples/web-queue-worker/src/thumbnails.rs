//! The job: three thumbnails of one picture.

use std::io::Cursor;
use std::sync::Arc;
use std::time::Duration;

use anyhow::Context;
use image::codecs::jpeg::JpegEncoder;
use image::{
    DynamicImage, ImageDecoder, ImageError, ImageReader, Limits, Rgba, RgbaImage, imageops,
};
use job_core::prelude::*;
use tokio::task::spawn_blocking;
use tokio::time::timeout;
use uuid::Uuid;

use crate::store::{Size, Store};

pub(crate) const QUEUE: &str = "pictures";

/// Larger pictures are refused, in width and in height. A file of some kilobytes can claim to be
/// a picture of many gigabytes, which would have to fit into memory.
pub(crate) const MAX_PIXELS: u32 = 12_000;

/// What it may take to decode a picture, in bytes. Each run of the job may take as much.
const MAX_MEMORY: u64 = 256 << 20;

/// A run that takes longer has failed. A little less than the job's timeout, which would end the
/// handler before it could tell anybody.
const TAKES: Duration = Duration::from_secs(110);

/// The message says which picture, and does not hold it: queues take some kilobytes, and a disk
/// takes the rest.
///
/// Twenty attempts with such a backoff go on for more than half an hour, so a store may be away for
/// that long. Whoever comes later than that is in the poison queue, to be replayed.
#[job(queue = "pictures", max_attempts = 20, backoff = exponential("1s", "5m"), timeout = "2m")]
pub(crate) async fn make_thumbnails(
    picture: Uuid,
    store: Data<Store>,
    scanner: Data<Scanner>,
    cx: JobContext,
) -> Result<(), JobError> {
    let shared = Data::into_arc(store.clone());
    let work = async {
        scanner.scan().await;
        // It computes for some time: a thread that others wait for must not.
        spawn_blocking(move || make(picture, &shared)).await?
    };
    let result = timeout(TAKES, work).await.unwrap_or_else(|_| Err("it took too long".into()));
    if result.is_err() && cx.is_last_attempt() {
        // Somebody is waiting for it.
        store
            .fail(picture, "It took too often to make thumbnails of it. We are looking into it.")?;
    }
    result
}

/// It may run more than once, and then writes the same files again.
fn make(picture: Uuid, store: &Store) -> Result<(), JobError> {
    let upload = store.read_upload(picture).context("cannot read the upload")?;
    let image = match decode(&upload) {
        Ok(image) => image,
        Err(error) => {
            let too_large = matches!(error, ImageError::Limits(_));
            let reason = if too_large { "It is too large." } else { "It is damaged." };
            store.fail(picture, reason)?;
            // It will be no better next time.
            return Err(JobError::permanent(error));
        }
    };
    for size in Size::ALL {
        let thumbnail = encode(&shrink(&image, size))?;
        // Any error: tried again, by the backoff.
        store.add_thumbnail(picture, size, &thumbnail).context("cannot store a thumbnail")?;
    }
    Ok(())
}

fn decode(bytes: &[u8]) -> image::ImageResult<DynamicImage> {
    let mut reader = ImageReader::new(Cursor::new(bytes)).with_guessed_format()?;
    reader.limits(limits());
    let mut decoder = reader.into_decoder()?;
    // Cameras do not turn pictures; they say which side is up.
    let orientation = decoder.orientation()?;
    let mut image = DynamicImage::from_decoder(decoder)?;
    image.apply_orientation(orientation);
    Ok(image)
}

fn limits() -> Limits {
    let mut limits = Limits::default();
    limits.max_image_width = Some(MAX_PIXELS);
    limits.max_image_height = Some(MAX_PIXELS);
    limits.max_alloc = Some(MAX_MEMORY);
    limits
}

/// Keeps the shape, and leaves alone what is small enough.
fn shrink(image: &DynamicImage, size: Size) -> RgbaImage {
    let most = size.pixels();
    if image.width() <= most && image.height() <= most {
        return image.to_rgba8();
    }
    image.thumbnail(most, most).into_rgba8()
}

/// JPEG knows nothing of transparency, so it is put on white.
fn encode(thumbnail: &RgbaImage) -> image::ImageResult<Vec<u8>> {
    let white = Rgba([255; 4]);
    let mut paper = RgbaImage::from_pixel(thumbnail.width(), thumbnail.height(), white);
    imageops::overlay(&mut paper, thumbnail, 0, 0);
    let mut jpeg = Vec::new();
    let encoder = JpegEncoder::new_with_quality(&mut jpeg, 85);
    DynamicImage::from(paper).into_rgb8().write_with_encoder(encoder)?;
    Ok(jpeg)
}

/// Stands for whatever else a job waits for, such as a virus scanner. It takes no time unless the
/// worker is started with `--scan MILLISECONDS`.
#[derive(Clone, Copy, Debug, Default)]
pub(crate) struct Scanner {
    pub(crate) takes: Duration,
}

impl Scanner {
    async fn scan(&self) {
        if !self.takes.is_zero() {
            tokio::time::sleep(self.takes).await;
        }
    }
}

/// A worker, for this process or for one of several.
pub(crate) fn worker(
    client: &Client,
    store: Arc<Store>,
    scanner: Scanner,
) -> Result<Worker, job_core::BuildError> {
    Worker::builder(client)
        .data_arc(store)
        .data(scanner)
        // Decoded pictures are large, and are there twice while they are turned: four of them are
        // two gigabytes at worst.
        .queue(Queue::new(QUEUE).concurrency(4).max_poll(SECOND))
        .build()
}

#[cfg(test)]
mod tests {
    use job_memory::testing::TestJobs;

    use super::*;

    fn picture(name: &str) -> Vec<u8> {
        let folder = concat!(env!("CARGO_MANIFEST_DIR"), "/../assets/");
        std::fs::read(format!("{folder}{name}")).unwrap()
    }

    #[test]
    fn transparency_becomes_white() {
        let clear = RgbaImage::from_pixel(8, 8, Rgba([0, 0, 0, 0]));
        let jpeg = image::load_from_memory(&encode(&clear).unwrap()).unwrap().into_rgb8();
        assert!(jpeg.pixels().all(|pixel| pixel.0.iter().all(|&value| value > 250)));
    }

    #[test]
    fn thumbnails_keep_the_shape() {
        let image = decode(&picture("sunset.png")).unwrap();
        let (width, height) = shrink(&image, Size::Small).dimensions();
        assert_eq!((width, height), (64, 96));
        let tiny = DynamicImage::new_rgb8(3, 2);
        assert_eq!(shrink(&tiny, Size::Small).dimensions(), (3, 2));
    }

    #[test]
    fn a_picture_too_large_is_not_decoded() {
        let mut png = Vec::new();
        let wide = DynamicImage::new_luma8(MAX_PIXELS + 1, 1);
        wide.write_to(&mut Cursor::new(&mut png), image::ImageFormat::Png).unwrap();
        assert!(matches!(decode(&png), Err(ImageError::Limits(_))));
    }

    #[tokio::test(start_paused = true)]
    async fn a_store_that_is_away_delays_and_loses_nothing() {
        let folder = tempfile::tempdir().unwrap();
        let store = Arc::new(Store::open(folder.path()).unwrap());
        let id = Uuid::now_v7();
        std::fs::write(folder.path().join("uploads").join(id.to_string()), picture("plasma.jpg"))
            .unwrap();
        let data = store.clone();
        let jobs = TestJobs::builder()
            .worker(move |worker| worker.data_arc(data.clone()).data(Scanner::default()))
            .build();
        jobs.client().enqueue(MakeThumbnails { picture: id }).await.unwrap();

        let (here, away) = (folder.path().join("thumbnails"), folder.path().join("away"));
        std::fs::rename(&here, &away).unwrap();
        assert_eq!(jobs.drain().await.retried(), 1);
        std::fs::rename(&away, &here).unwrap();
        assert_eq!(jobs.drain_all().await.completed(), 1);
        assert!(Size::ALL.into_iter().all(|size| store.thumbnail(id, size).exists()));
    }

    #[tokio::test(start_paused = true)]
    async fn whoever_waits_is_told_when_it_is_given_up() {
        let folder = tempfile::tempdir().unwrap();
        let store = Arc::new(Store::open(folder.path()).unwrap());
        let data = store.clone();
        let jobs = TestJobs::builder()
            .worker(move |worker| worker.data_arc(data.clone()).data(Scanner::default()))
            .build();
        // There is no such upload.
        let id = Uuid::now_v7();
        jobs.perform(MakeThumbnails { picture: id }).attempt(19).await.expect_retry();
        assert!(!folder.path().join(format!("failures/{id}.txt")).exists());
        jobs.perform(MakeThumbnails { picture: id }).attempt(20).await.expect_exhausted();
        assert!(folder.path().join(format!("failures/{id}.txt")).exists());
    }

    #[tokio::test(start_paused = true)]
    async fn whoever_waits_is_told_when_it_takes_too_long() {
        let folder = tempfile::tempdir().unwrap();
        let store = Arc::new(Store::open(folder.path()).unwrap());
        let data = store.clone();
        let scanner = Scanner { takes: HOUR };
        let jobs = TestJobs::builder()
            .worker(move |worker| worker.data_arc(data.clone()).data(scanner))
            .build();
        let id = Uuid::now_v7();
        jobs.perform(MakeThumbnails { picture: id }).attempt(20).await.expect_exhausted();
        assert!(folder.path().join(format!("failures/{id}.txt")).exists());
    }
}
