//! The guide in `docs/` and the other pages: links lead somewhere, chapters are in the summary,
//! tables of defaults are those of the code. Their Rust snippets are tests of `job-azure`.

mod defaults;
mod page;
mod snippets;

use std::collections::BTreeSet;
use std::path::{Path, PathBuf};

use self::page::Page;

/// Whom pages may send their readers to: nobody here can ask whether a page is still there.
const HOSTS: &[&str] = &[
    "azure.microsoft.com",
    "docs.celeryq.dev",
    "docs.rs",
    "github.com",
    "keepachangelog.com",
    "learn.microsoft.com",
    "rust-lang.github.io",
    "semver.org",
];

#[test]
fn links_lead_somewhere() {
    let mut problems = Vec::new();
    let mut links = 0;
    for path in pages() {
        let page = Page::read(&path);
        for broken in &page.undefined {
            problems.push(format!("{}: [{broken}] is defined nowhere", shown(&path)));
        }
        for link in &page.links {
            links += 1;
            if let Err(problem) = follow(&path, link) {
                problems.push(format!("{}: {link}: {problem}", shown(&path)));
            }
        }
    }
    assert!(problems.is_empty(), "{}", problems.join("\n"));
    assert!(links > 100, "{links} links: are they all?");
}

#[test]
fn a_link_that_leads_nowhere_is_found() {
    let from = root().join("docs/src/poison.md");
    for (link, problem) in [
        ("nowhere.md", "there is no"),
        ("settings.md#nothing", "it has no heading `nothing`"),
        ("#nothing", "it has no heading `nothing`"),
        ("../../../README.md", "there is no"),
        ("http://github.com/", "not https"),
        ("https://example.com/", "not one of the hosts"),
        ("https://[", "no URL"),
        ("mailto:ada@example.com", "not https"),
    ] {
        let found = follow(&from, link).expect_err(link);
        assert!(found.contains(problem), "{link}: {found}");
    }
    for link in
        ["settings.md#lease", "#keep-it-small", "../../README.md#the-promise", "../../bench"]
    {
        follow(&from, link).expect(link);
    }
}

#[test]
fn the_summary_has_every_chapter_and_each_is_tested() {
    let chapters = root().join("docs/src");
    let summary = Page::read(&chapters.join("SUMMARY.md"));
    let listed: BTreeSet<_> = summary.links.iter().cloned().collect();
    assert_eq!(listed.len(), summary.links.len(), "a chapter is listed twice");
    let there: BTreeSet<_> = markdown_in(&chapters)
        .iter()
        .map(|path| path.strip_prefix(&chapters).expect("a chapter").display().to_string())
        .filter(|name| name != "SUMMARY.md")
        .collect();
    assert_eq!(listed, there);
    let tested = include_str!("../../../job-azure/src/guide.rs");
    for name in there {
        let line = format!("#[doc = include_str!(\"../../docs/src/{name}\")]");
        assert!(tested.contains(&line), "add to job-azure/src/guide.rs: {line}");
    }
}

#[test]
fn what_is_to_be_looked_at_is_there() {
    let told = Page::read(&root().join("job-core/src/telemetry/tables.md")).codes;
    let mut named = 0;
    for path in pages().iter().filter(|path| path.ends_with("README.md") || in_guide(path)) {
        let codes = Page::read(path).codes.into_iter();
        // Metrics and log lines of jobs; crates and paths into them are named with these.
        let crates = ["job_core", "job_memory", "job_azure"];
        let is_crate = |code: &str| crates.iter().any(|name| code.starts_with(name));
        for code in codes.filter(|code| code.starts_with("job_") && !is_crate(code)) {
            named += 1;
            assert!(told.contains(&code), "{}: there is no `{code}`", shown(path));
        }
    }
    assert!(named > 10, "{named} names: are they all?");
}

/// Whether there is something where a link of that page leads.
fn follow(from: &Path, link: &str) -> Result<(), String> {
    let (target, anchor) = link.split_once('#').map_or((link, None), |(to, at)| (to, Some(at)));
    if target.contains(':') {
        let url = reqwest::Url::parse(link).map_err(|error| format!("no URL: {error}"))?;
        if url.scheme() != "https" {
            return Err("not https".into());
        }
        let host = url.host_str().unwrap_or_default();
        let known = HOSTS.contains(&host);
        return known.then_some(()).ok_or_else(|| format!("{host} is not one of the hosts"));
    }
    let path = match target {
        "" => from.to_owned(),
        _ => from.parent().expect("a folder").join(target),
    };
    let missing = || format!("there is no {}", shown(&path));
    let path = path.canonicalize().map_err(|_| missing())?;
    if !path.starts_with(root().canonicalize().expect("the repository")) {
        return Err(missing());
    }
    match anchor {
        Some(anchor) if !Page::read(&path).anchors.contains(anchor) => {
            Err(format!("it has no heading `{anchor}`"))
        }
        _ => Ok(()),
    }
}

fn root() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).parent().expect("the repository").to_owned()
}

fn shown(path: &Path) -> String {
    path.strip_prefix(root()).unwrap_or(path).display().to_string()
}

/// What people read in the repository.
fn pages() -> Vec<PathBuf> {
    let mut pages: Vec<_> = ["README.md", "ARCHITECTURE.md", "CONTRIBUTING.md", "CHANGELOG.md"]
        .iter()
        .map(|name| root().join(name))
        .collect();
    for folder in ["docs", "examples", "bench"] {
        pages.extend(markdown_in(&root().join(folder)));
    }
    pages
}

fn in_guide(path: &Path) -> bool {
    path.starts_with(root().join("docs"))
}

fn markdown_in(folder: &Path) -> Vec<PathBuf> {
    let mut found = Vec::new();
    for entry in std::fs::read_dir(folder).expect("a folder") {
        let path = entry.expect("an entry").path();
        let name = path.file_name().and_then(|name| name.to_str()).unwrap_or_default();
        if path.is_dir() && name != "node_modules" && name != "target" {
            found.extend(markdown_in(&path));
        } else if name.ends_with(".md") {
            found.push(path);
        }
    }
    found
}
