//! What there is in a page of Markdown.

use std::cell::RefCell;
use std::collections::HashSet;
use std::path::Path;

use pulldown_cmark::{BrokenLink, CodeBlockKind, Event, LinkType, Options, Parser, Tag, TagEnd};

/// A page, taken apart.
#[derive(Default)]
pub(super) struct Page {
    /// Where its links and pictures lead.
    pub(super) links: Vec<String>,
    /// Names of links that are defined nowhere.
    pub(super) undefined: Vec<String>,
    /// Its headings, as links name them.
    pub(super) anchors: HashSet<String>,
    /// Rows of its tables, the heads included.
    pub(super) rows: Vec<Vec<String>>,
    /// What is marked as code in its text.
    pub(super) codes: Vec<String>,
    /// Its fenced blocks: what is said of them, and the text.
    pub(super) blocks: Vec<(String, String)>,
}

impl Page {
    /// Reads a file.
    pub(super) fn read(path: &Path) -> Self {
        let text = std::fs::read_to_string(path)
            .unwrap_or_else(|error| panic!("{}: {error}", path.display()));
        Self::of(&text)
    }

    fn of(text: &str) -> Self {
        let undefined = RefCell::new(Vec::new());
        let callback = |link: BrokenLink<'_>| {
            // `[text]` alone is usually no link at all.
            if matches!(link.link_type, LinkType::Reference | LinkType::Collapsed) {
                undefined.borrow_mut().push(link.reference.to_string());
            }
            None
        };
        let mut page = Self::default();
        // Of the heading, cell or block that it is in.
        let mut said = String::new();
        let parser =
            Parser::new_with_broken_link_callback(text, Options::ENABLE_TABLES, Some(callback));
        for event in parser {
            match event {
                Event::Start(Tag::Link { dest_url, .. } | Tag::Image { dest_url, .. }) => {
                    page.links.push(dest_url.to_string());
                }
                Event::Start(Tag::TableHead | Tag::TableRow) => page.rows.push(Vec::new()),
                Event::Start(Tag::Heading { .. } | Tag::TableCell) => said.clear(),
                Event::Start(Tag::CodeBlock(kind)) => {
                    let CodeBlockKind::Fenced(info) = kind else {
                        panic!("an indented block is taken for Rust by rustdoc: fence it");
                    };
                    page.blocks.push((info.to_string(), String::new()));
                    said.clear();
                }
                Event::Text(text) => said.push_str(&text),
                Event::Code(text) => {
                    said.push_str(&text);
                    page.codes.push(text.into_string());
                }
                Event::End(TagEnd::Heading(_)) => page.add_anchor(&said),
                Event::End(TagEnd::TableCell) => {
                    page.rows.last_mut().expect("a row").push(said.trim().to_owned());
                }
                Event::End(TagEnd::CodeBlock) => {
                    page.blocks.last_mut().expect("a block").1 = std::mem::take(&mut said);
                }
                _ => {}
            }
        }
        page.undefined = undefined.into_inner();
        page
    }

    /// As GitHub and mdBook make them of headings.
    fn add_anchor(&mut self, heading: &str) {
        let kept = heading.trim().chars().filter_map(|c| match c {
            ' ' => Some('-'),
            '-' | '_' => Some(c),
            _ => c.is_alphanumeric().then(|| c.to_ascii_lowercase()),
        });
        let name: String = kept.collect();
        let mut anchor = name.clone();
        let mut n = 0;
        while !self.anchors.insert(anchor) {
            n += 1;
            anchor = format!("{name}-{n}");
        }
    }
}

#[test]
fn a_page_is_taken_apart() {
    let page = Page::of(
        "# `Job`s, in short\n\n[a](b.md#c), [d][e], [f][g], [h], ![i](j.png)\n\n[e]: https://k\n\n\
         | l | m |\n|---|---|\n| `n` | 1 o |\n\n```toml\np = 1\n```\n\n## Jobs in short\n",
    );
    assert_eq!(page.links, ["b.md#c", "https://k", "j.png"]);
    assert_eq!(page.undefined, ["g"]);
    assert_eq!(page.rows, [["l", "m"], ["n", "1 o"]]);
    assert_eq!(page.codes, ["Job", "n"]);
    assert_eq!(page.blocks, [("toml".to_owned(), "p = 1\n".to_owned())]);
    let anchors = ["jobs-in-short".to_owned(), "jobs-in-short-1".to_owned()];
    assert_eq!(page.anchors, anchors.into());
}
