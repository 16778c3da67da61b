//! The XML of requests and answers.

use std::fmt::Write;

use quick_xml::Reader;
use quick_xml::events::Event;

use crate::error::ServiceError;

/// What the service puts before every document.
const HEAD: &str = "\u{feff}<?xml version=\"1.0\" encoding=\"utf-8\"?>";

/// A document, written element by element.
pub(super) struct Document(String);

impl Document {
    pub(super) fn new() -> Self {
        Self(HEAD.to_owned())
    }

    /// An element around what `inside` writes.
    pub(super) fn element(&mut self, name: &str, inside: impl FnOnce(&mut Self)) {
        self.0.extend(["<", name, ">"]);
        let before = self.0.len();
        inside(self);
        if self.0.len() == before {
            self.0.pop();
            self.0.push_str(" />");
        } else {
            self.0.extend(["</", name, ">"]);
        }
    }

    /// An element with a text.
    pub(super) fn text(&mut self, name: &str, text: &str) {
        self.element(name, |document| document.escape(text));
    }

    /// An element with a number.
    pub(super) fn number(&mut self, name: &str, number: u32) {
        self.element(name, |document| {
            // Writing to a string cannot fail.
            let _ = write!(document.0, "{number}");
        });
    }

    pub(super) fn into_string(self) -> String {
        self.0
    }

    fn escape(&mut self, mut text: &str) {
        // A carriage return in the open would be read as a line feed.
        while let Some(at) = text.find(['<', '>', '&', '\r']) {
            self.0.push_str(&text[..at]);
            self.0.push_str(match text.as_bytes()[at] {
                b'<' => "&lt;",
                b'>' => "&gt;",
                b'&' => "&amp;",
                _ => "&#xD;",
            });
            text = &text[at + 1..];
        }
        self.0.push_str(text);
    }
}

/// The text of the message in the body of a request.
pub(super) fn message_text(body: &[u8]) -> Result<String, ServiceError> {
    read(body).ok_or(ServiceError::INVALID_XML)
}

fn read(body: &[u8]) -> Option<String> {
    let body = std::str::from_utf8(body).ok()?.trim_start_matches('\u{feff}');
    if !body.chars().all(allowed) {
        return None;
    }
    let mut reader = Reader::from_str(body);
    reader.config_mut().expand_empty_elements = true;
    let mut path: Vec<Vec<u8>> = Vec::new();
    let mut text = None;
    loop {
        let event = reader.read_event().ok()?;
        let in_text = path.len() == 2 && path[1] == b"MessageText";
        match event {
            Event::Start(start) => {
                path.push(start.name().as_ref().to_vec());
                if path[0] != b"QueueMessage" || in_text {
                    return None;
                }
                if path.len() == 2 && path[1] == b"MessageText" {
                    text = Some(String::new());
                }
            }
            Event::End(_) => drop(path.pop()?),
            Event::Text(content) if in_text => {
                text.as_mut()?.push_str(&content.xml10_content().ok()?);
            }
            Event::CData(content) if in_text => {
                text.as_mut()?.push_str(&content.xml10_content().ok()?);
            }
            Event::GeneralRef(entity) if in_text => {
                let resolved = match entity.resolve_char_ref().ok()? {
                    Some(char) => allowed(char).then_some(char)?,
                    None => predefined(&entity)?,
                };
                text.as_mut()?.push(resolved);
            }
            Event::Eof => break,
            _ => {}
        }
    }
    text.filter(|_| path.is_empty())
}

fn predefined(entity: &[u8]) -> Option<char> {
    match entity {
        b"lt" => Some('<'),
        b"gt" => Some('>'),
        b"amp" => Some('&'),
        b"apos" => Some('\''),
        b"quot" => Some('"'),
        _ => None,
    }
}

/// Whether XML 1.0 can hold it at all, escaped or not.
fn allowed(char: char) -> bool {
    matches!(char, '\t' | '\n' | '\r' | ' '..='\u{d7ff}' | '\u{e000}'..='\u{fffd}' | '\u{10000}'..)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn message(text: &str) -> Result<String, ServiceError> {
        let body = format!("<QueueMessage><MessageText>{text}</MessageText></QueueMessage>");
        message_text(body.as_bytes())
    }

    #[test]
    fn text_is_read_as_xml_means_it() {
        assert_eq!(message("a &lt;b&gt; &amp;&quot;&apos;").unwrap(), "a <b> &\"'");
        assert_eq!(message("&#x1F600; &#233; \u{1f600}").unwrap(), "\u{1f600} é \u{1f600}");
        assert_eq!(message("<![CDATA[<&>]]>").unwrap(), "<&>");
        assert_eq!(message("  kept \t").unwrap(), "  kept \t");
        assert_eq!(message("").unwrap(), "");
        assert_eq!(message("a\r\nb\rc&#xD;\nd").unwrap(), "a\nb\nc\r\nd");
        let whole = "\u{feff}<?xml version=\"1.0\"?>\n<QueueMessage>\n <Other>x</Other>\n \
                     <MessageText/>\n</QueueMessage>\n";
        assert_eq!(message_text(whole.as_bytes()).unwrap(), "");
    }

    #[test]
    fn what_is_no_message_is_refused() {
        for text in ["\u{1}", "&#1;", "&#0;", "\u{ffff}", "&nbsp;", "&", "<b>x</b>", "<b>"] {
            assert_eq!(message(text), Err(ServiceError::INVALID_XML), "{text:?}");
        }
        for body in [
            "",
            "text",
            "<QueueMessage></QueueMessage>",
            "<MessageText>x</MessageText>",
            "<QueueMessage><MessageText>x</MessageText>",
            "<QueueMessage><MessageText>x</QueueMessage>",
            "<Other><MessageText>x</MessageText></Other>",
        ] {
            assert_eq!(message_text(body.as_bytes()), Err(ServiceError::INVALID_XML), "{body}");
        }
        assert_eq!(message_text(b"\xff"), Err(ServiceError::INVALID_XML));
    }

    #[test]
    fn what_is_written_reads_as_it_was() {
        for text in ["", " ", "<&>\"' \r\n\t", "\u{1f600}é", "]]>"] {
            let mut document = Document::new();
            document.element("QueueMessage", |document| document.text("MessageText", text));
            assert_eq!(message_text(document.into_string().as_bytes()).unwrap(), text);
        }
    }
}
