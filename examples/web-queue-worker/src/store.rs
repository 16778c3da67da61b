//! The disk that web and workers share. What is on it is the status of each picture: there is no
//! second truth that would have to be kept in step.
//!
//! ```text
//! uploads/<id>                 a picture as it came
//! uploads/<id>.name            what its owner calls it; written when its job is on the queue
//! thumbnails/<id>-<size>.jpg   what was made of it
//! failures/<id>.txt            why nothing can be made of it, for its owner
//! ```
//!
//! Every file is written under another name and then renamed, so nobody ever sees half of one, and
//! a job that runs twice writes the same file twice.

use std::collections::BTreeSet;
use std::collections::btree_map::{BTreeMap, Entry};
use std::fs;
use std::io::{self, Write};
use std::path::{Path, PathBuf};

use serde::{Deserialize, Serialize};
use tempfile::NamedTempFile;
use uuid::Uuid;

/// The sizes of thumbnails, the smallest first.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub(crate) enum Size {
    Small,
    Medium,
    Large,
}

impl Size {
    pub(crate) const ALL: [Self; 3] = [Self::Small, Self::Medium, Self::Large];

    /// The most that a thumbnail measures, in both directions, in pixels.
    pub(crate) fn pixels(self) -> u32 {
        match self {
            Self::Small => 96,
            Self::Medium => 320,
            Self::Large => 960,
        }
    }

    fn name(self) -> &'static str {
        match self {
            Self::Small => "small",
            Self::Medium => "medium",
            Self::Large => "large",
        }
    }
}

/// What is known of a picture. The page gets it as JSON.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub(crate) struct Picture {
    pub(crate) id: Uuid,
    pub(crate) name: String,
    /// Which thumbnails are there.
    pub(crate) thumbnails: BTreeSet<Size>,
    /// Why there will be none.
    pub(crate) failure: Option<String>,
}

/// All of them. Ids begin with a time, so the newest are the last.
pub(crate) type Pictures = BTreeMap<Uuid, Picture>;

#[derive(Debug)]
pub(crate) struct Store {
    uploads: PathBuf,
    thumbnails: PathBuf,
    failures: PathBuf,
}

impl Store {
    pub(crate) fn open(folder: &Path) -> io::Result<Self> {
        let part = |name| {
            let path = folder.join(name);
            fs::create_dir_all(&path)?;
            io::Result::Ok(path)
        };
        Ok(Self {
            uploads: part("uploads")?,
            thumbnails: part("thumbnails")?,
            failures: part("failures")?,
        })
    }

    // --- The web's side ---

    /// A file for an upload on its way. It vanishes if it is dropped.
    pub(crate) fn begin_upload(&self) -> io::Result<NamedTempFile> {
        NamedTempFile::new_in(&self.uploads)
    }

    /// Keeps an upload, for good: it outlives a power failure.
    pub(crate) fn keep_upload(&self, id: Uuid, file: NamedTempFile) -> io::Result<()> {
        file.as_file().sync_all()?;
        file.persist(self.uploads.join(id.to_string()))?;
        // Its name is in the folder, which is written at leisure, too.
        #[cfg(unix)]
        fs::File::open(&self.uploads)?.sync_all()?;
        Ok(())
    }

    /// Shows an upload to everybody, under a name that is nothing but a text.
    pub(crate) fn list_upload(&self, id: Uuid, name: &str) -> io::Result<()> {
        write(&self.uploads, &format!("{id}.name"), name.as_bytes())
    }

    pub(crate) fn remove_upload(&self, id: Uuid) -> io::Result<()> {
        fs::remove_file(self.uploads.join(id.to_string()))
    }

    /// Brings `pictures` up to date, and returns those that changed. While a part of the store
    /// cannot be read, what was known of it stays as it was, and the error comes with the rest.
    pub(crate) fn refresh(&self, pictures: &mut Pictures) -> (Vec<Uuid>, io::Result<()>) {
        let mut changed = BTreeSet::new();
        let result = self.find_changes(pictures, &mut changed);
        (changed.into_iter().collect(), result)
    }

    fn find_changes(
        &self,
        pictures: &mut Pictures,
        changed: &mut BTreeSet<Uuid>,
    ) -> io::Result<()> {
        for file in names_in(&self.uploads)? {
            let Some(id) = file.strip_suffix(".name").and_then(|id| Uuid::try_parse(id).ok())
            else {
                continue;
            };
            if let Entry::Vacant(entry) = pictures.entry(id) {
                let name = fs::read_to_string(self.uploads.join(&file))?;
                entry.insert(Picture { id, name, thumbnails: BTreeSet::new(), failure: None });
                changed.insert(id);
            }
        }
        for file in names_in(&self.failures)? {
            let id = file.strip_suffix(".txt").and_then(|id| Uuid::try_parse(id).ok());
            let Some(picture) = id.and_then(|id| pictures.get_mut(&id)) else { continue };
            if picture.failure.is_none() {
                picture.failure = Some(fs::read_to_string(self.failures.join(&file))?);
                changed.insert(picture.id);
            }
        }
        for file in names_in(&self.thumbnails)? {
            let Some((id, size)) = parse_thumbnail(&file) else { continue };
            let Some(picture) = pictures.get_mut(&id) else { continue };
            if picture.thumbnails.insert(size) {
                changed.insert(id);
            }
        }
        Ok(())
    }

    pub(crate) fn thumbnail(&self, id: Uuid, size: Size) -> PathBuf {
        self.thumbnails.join(thumbnail_name(id, size))
    }

    // --- The workers' side ---

    pub(crate) fn read_upload(&self, id: Uuid) -> io::Result<Vec<u8>> {
        fs::read(self.uploads.join(id.to_string()))
    }

    pub(crate) fn add_thumbnail(&self, id: Uuid, size: Size, jpeg: &[u8]) -> io::Result<()> {
        write(&self.thumbnails, &thumbnail_name(id, size), jpeg)
    }

    pub(crate) fn fail(&self, id: Uuid, reason: &str) -> io::Result<()> {
        write(&self.failures, &format!("{id}.txt"), reason.as_bytes())
    }
}

fn thumbnail_name(id: Uuid, size: Size) -> String {
    format!("{id}-{}.jpg", size.name())
}

fn parse_thumbnail(file: &str) -> Option<(Uuid, Size)> {
    let (id, size) = file.strip_suffix(".jpg")?.rsplit_once('-')?;
    let size = Size::ALL.into_iter().find(|known| known.name() == size)?;
    Some((Uuid::try_parse(id).ok()?, size))
}

fn write(folder: &Path, name: &str, bytes: &[u8]) -> io::Result<()> {
    let mut file = NamedTempFile::new_in(folder)?;
    file.write_all(bytes)?;
    file.persist(folder.join(name))?;
    Ok(())
}

fn names_in(folder: &Path) -> io::Result<Vec<String>> {
    let names = fs::read_dir(folder)?.map(|entry| Ok(entry?.file_name().into_string().ok()));
    names.filter_map(io::Result::transpose).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_picture_from_upload_to_thumbnails() {
        let folder = tempfile::tempdir().unwrap();
        let store = Store::open(folder.path()).unwrap();
        let (id, mut pictures) = (Uuid::now_v7(), Pictures::new());
        let refresh = |pictures: &mut Pictures| {
            let (changed, result) = store.refresh(pictures);
            result.unwrap();
            changed
        };

        let mut file = store.begin_upload().unwrap();
        file.write_all(b"picture").unwrap();
        assert!(refresh(&mut pictures).is_empty(), "half an upload is none");
        store.keep_upload(id, file).unwrap();
        assert_eq!(store.read_upload(id).unwrap(), b"picture");
        assert!(refresh(&mut pictures).is_empty(), "its job is not on the queue yet");
        store.list_upload(id, "../cat.jpg").unwrap();
        assert_eq!(refresh(&mut pictures), [id]);
        assert_eq!(pictures[&id].name, "../cat.jpg");

        store.add_thumbnail(id, Size::Small, b"jpeg").unwrap();
        store.add_thumbnail(id, Size::Small, b"jpeg").unwrap();
        assert_eq!(refresh(&mut pictures), [id]);
        assert_eq!(pictures[&id].thumbnails, BTreeSet::from([Size::Small]));
        assert!(refresh(&mut pictures).is_empty(), "nothing is new");
    }

    #[test]
    fn what_was_known_stays_while_a_part_is_away() {
        let folder = tempfile::tempdir().unwrap();
        let store = Store::open(folder.path()).unwrap();
        let (id, mut pictures) = (Uuid::now_v7(), Pictures::new());
        store.list_upload(id, "cat").unwrap();
        store.add_thumbnail(id, Size::Large, b"jpeg").unwrap();
        let (_, result) = store.refresh(&mut pictures);
        result.unwrap();

        fs::rename(folder.path().join("thumbnails"), folder.path().join("away")).unwrap();
        store.list_upload(Uuid::max(), "another").unwrap();
        let (changed, result) = store.refresh(&mut pictures);
        assert_eq!((changed, result.is_err()), (vec![Uuid::max()], true));
        assert_eq!(pictures[&id].thumbnails, BTreeSet::from([Size::Large]));
    }

    #[test]
    fn an_upload_that_is_given_up_leaves_nothing() {
        let folder = tempfile::tempdir().unwrap();
        let store = Store::open(folder.path()).unwrap();
        drop(store.begin_upload().unwrap());
        assert!(names_in(&folder.path().join("uploads")).unwrap().is_empty());
    }
}
