//! What is in fences and is not Rust.

use config::{Config, File, FileFormat};
use job_core::WorkerConfig;

use super::{Page, pages, root, shown};

/// Of these, Rust is compiled by `cargo test --doc`, and data are read below.
const LANGUAGES: &str = "rust rust,no_run toml json yaml sh console text diff csharp python ruby";

#[test]
fn snippets_are_read() {
    for path in pages() {
        for (language, text) in Page::read(&path).blocks {
            let page = shown(&path);
            let known = language.is_empty() || LANGUAGES.split(' ').any(|known| known == language);
            assert!(known, "{page}: ```{language}");
            match language.as_str() {
                "json" => drop(serde_json::from_str::<serde_json::Value>(&text).expect(&page)),
                "toml" => drop(toml(&text).expect(&page)),
                _ => {}
            }
        }
    }
}

#[test]
fn the_settings_in_the_guide_are_a_workers() {
    let blocks = Page::read(&root().join("docs/src/settings.md")).blocks;
    let settings: Vec<_> = blocks.iter().filter(|(language, _)| language == "toml").collect();
    assert_eq!(settings.len(), 1);
    for (_, text) in settings {
        WorkerConfig::read(toml(text).expect("TOML")).expect("settings of a worker");
    }
}

fn toml(text: &str) -> Result<Config, config::ConfigError> {
    Config::builder().add_source(File::from_str(text, FileFormat::Toml)).build()
}
