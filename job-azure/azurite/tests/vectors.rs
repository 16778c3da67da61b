//! The shared key vectors are what the Python package computes.

use std::fs;
use std::path::Path;

use job_azurite::vectors;

#[test]
fn the_vectors_are_those_of_the_python_package() {
    let file = Path::new(env!("CARGO_MANIFEST_DIR")).join("../tests/vectors/shared_key.json");
    let computed = vectors::shared_key().unwrap_or_else(|error| panic!("{error}"));
    let fresh = Path::new(env!("CARGO_TARGET_TMPDIR")).join("shared_key.json");
    fs::write(&fresh, &computed).unwrap();
    let kept = fs::read_to_string(&file).unwrap();
    // They are long; a diff of the files says more than both of them here.
    assert!(kept == computed, "{} is not {}", file.display(), fresh.display());
}
