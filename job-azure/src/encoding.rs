//! Bodies as the text of a message, and back.
//!
//! A message's text travels in XML, which has no place for most control characters. Base64 is what
//! Functions and WebJobs expect; text is for readers that want none. Reading takes both, whatever
//! is set, so that an app can change its mind while messages are on the queue.

use std::borrow::Cow;

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use bytes::Bytes;
use serde_json::value::RawValue;

/// The longest text of a message, in bytes of UTF-8.
pub(crate) const MAX_TEXT: usize = 64 * 1024;

/// The longest body that fits whatever it holds.
pub(crate) const MAX_BODY: usize = MAX_TEXT / 4 * 3;

/// How bodies are written into messages. Reading takes both.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash)]
#[non_exhaustive]
pub enum Encoding {
    /// Base64, as Functions and WebJobs write and expect it.
    #[default]
    Base64,
    /// As it is. A body that XML could not carry unharmed, or that could be taken for base64, is
    /// written as base64 all the same.
    Text,
}

/// The text is longer than a message may be.
#[derive(Debug, PartialEq, Eq)]
pub(crate) struct TooLong(pub(crate) usize);

/// The text for a body.
pub(crate) fn encode(body: &[u8], encoding: Encoding) -> Result<String, TooLong> {
    let text = match encoding {
        Encoding::Text => plain(body).map_or_else(|| base64(body), str::to_owned),
        Encoding::Base64 => base64(body),
    };
    if text.len() > MAX_TEXT { Err(TooLong(text.len())) } else { Ok(text) }
}

/// The body of a text.
///
/// Text that is base64 is decoded, unless it is a JSON value as it stands and is none decoded:
/// `1234` and `true` are valid base64 by accident.
pub(crate) fn decode(text: String) -> Bytes {
    match STANDARD.decode(unbroken(&text).as_bytes()) {
        Ok(decoded) if !is_scalar(&text) || is_json(&decoded) => decoded.into(),
        _ => text.into_bytes().into(),
    }
}

/// Base64 that is read as such.
fn base64(body: &[u8]) -> String {
    let mut text = STANDARD.encode(body);
    if is_scalar(&text) && !is_json(body) {
        // Every reader of base64 passes over a line break, and no JSON value has one inside.
        text.insert(1, '\n');
    }
    text
}

/// The body as text, if it comes back unharmed.
fn plain(body: &[u8]) -> Option<&str> {
    let text = std::str::from_utf8(body).ok()?;
    let unharmed = text.chars().all(survives_xml)
        && !text.starts_with(char::is_whitespace)
        && !text.ends_with(char::is_whitespace);
    // The empty text is both, and the same.
    let is_base64 = !text.is_empty() && STANDARD.decode(unbroken(text).as_bytes()).is_ok();
    (unharmed && (!is_base64 || (is_scalar(text) && !decodes_to_json(text)))).then_some(text)
}

fn decodes_to_json(text: &str) -> bool {
    STANDARD.decode(unbroken(text).as_bytes()).is_ok_and(|decoded| is_json(&decoded))
}

/// Base64 is sometimes wrapped.
fn unbroken(text: &str) -> Cow<'_, str> {
    if text.bytes().any(|byte| matches!(byte, b'\r' | b'\n')) {
        Cow::Owned(text.replace(['\r', '\n'], ""))
    } else {
        Cow::Borrowed(text)
    }
}

/// Whether the text is a JSON value made of nothing but letters and digits of base64: a number,
/// `true` or `null`. Cheap for all that begins otherwise, as do the encoded forms of objects.
fn is_scalar(text: &str) -> bool {
    text.starts_with(|c: char| c.is_ascii_digit() || c == 't' || c == 'n')
        && is_json(text.as_bytes())
}

fn is_json(bytes: &[u8]) -> bool {
    serde_json::from_slice::<&RawValue>(bytes).is_ok()
}

/// What XML 1.0 forbids would make the service refuse the message, and Azurite fail every later
/// read; carriage returns come back as line feeds.
fn survives_xml(c: char) -> bool {
    matches!(c, '\t' | '\n' | ' '..='\u{7e}' | '\u{a0}'..='\u{fffd}' | '\u{10000}'..)
        && c != '\u{2028}'
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn read(text: &str) -> Bytes {
        decode(text.to_owned())
    }

    #[test]
    fn base64_is_the_default_and_what_functions_write() {
        assert_eq!(encode(br#"{"a":1}"#, Encoding::default()).unwrap(), "eyJhIjoxfQ==");
        assert_eq!(encode(br#"{"a":1}"#, Encoding::Text).unwrap(), r#"{"a":1}"#);
    }

    #[test]
    fn both_forms_are_read() {
        assert_eq!(read("eyJhIjoxfQ=="), r#"{"a":1}"#);
        assert_eq!(read(r#"{"a":1}"#), r#"{"a":1}"#);
        assert_eq!(read("eyJh\r\nIjox\nfQ=="), r#"{"a":1}"#, "wrapped lines");
        assert_eq!(read(""), "");
        assert_eq!(read("not base64!"), "not base64!");
        assert_eq!(read("eyJhIjoxfQ="), "eyJhIjoxfQ=", "cut off");
    }

    #[test]
    fn text_that_is_base64_by_accident_is_read_as_text() {
        for text in ["1234", "true", "null", "12345678", "1414", "1e10"] {
            assert_eq!(read(text), text);
        }
        assert_eq!(read("MTIzNA=="), "1234", "and the base64 of a number as its number");
    }

    #[test]
    fn a_text_that_would_be_taken_for_base64_is_sent_as_base64() {
        assert_eq!(encode(b"abcd", Encoding::Text).unwrap(), "YWJjZA==");
        assert_eq!(encode(b"1234", Encoding::Text).unwrap(), "1234");
    }

    #[test]
    fn base64_that_would_be_taken_for_json_is_marked() {
        let body = STANDARD.decode("1234").unwrap();
        let text = encode(&body, Encoding::Base64).unwrap();
        assert_eq!((text.as_str(), read(&text)), ("1\n234", body.into()));
    }

    #[test]
    fn what_xml_cannot_carry_goes_as_base64() {
        for body in ["\0", "a\u{b}b", "a\rb", " a", "a\n", "\u{fffe}", "\u{ffff}", "\u{85}x"] {
            let text = encode(body.as_bytes(), Encoding::Text).unwrap();
            assert!(text.bytes().all(|b| b.is_ascii_graphic()), "{body:?} went as {text:?}");
            assert_eq!(read(&text), body);
        }
        assert_eq!(
            encode("aé\u{1f600}<&>\tb".as_bytes(), Encoding::Text).unwrap(),
            "aé\u{1f600}<&>\tb"
        );
    }

    #[test]
    fn the_size_counts_as_encoded() {
        assert!(encode(&vec![0; MAX_BODY], Encoding::Base64).is_ok());
        assert_eq!(encode(&vec![0; MAX_BODY + 1], Encoding::Base64), Err(TooLong(MAX_TEXT + 4)));
        assert!(encode(&vec![b'{'; MAX_TEXT], Encoding::Text).is_ok());
        assert_eq!(encode(&vec![b'{'; MAX_TEXT + 1], Encoding::Text), Err(TooLong(MAX_TEXT + 1)));
    }

    fn bodies() -> impl Strategy<Value = Vec<u8>> {
        let quantum =
            prop::collection::vec(prop::sample::select(b"0123456789truenl+/eE=".as_slice()), 0..13);
        prop_oneof![
            prop::collection::vec(any::<u8>(), 0..64),
            any::<String>().prop_map(String::into_bytes),
            any::<u64>().prop_map(|n| n.to_string().into_bytes()),
            quantum.clone(),
            // What is a number once it is encoded.
            quantum.prop_map(|text| STANDARD.decode(&text).unwrap_or(text)),
        ]
    }

    proptest! {
        #![proptest_config(ProptestConfig::with_cases(2000))]

        #[test]
        fn every_body_comes_back(body in bodies()) {
            for encoding in [Encoding::Base64, Encoding::Text] {
                let text = encode(&body, encoding).unwrap();
                prop_assert!(text.chars().all(survives_xml), "{text:?}");
                prop_assert_eq!(&decode(text)[..], &body[..], "{:?}", encoding);
            }
        }

        #[test]
        fn the_texts_of_a_body_are_read_the_same(body in "\\PC{0,40}") {
            let json = serde_json::to_vec(&body).unwrap();
            for encoding in [Encoding::Base64, Encoding::Text] {
                prop_assert_eq!(&decode(encode(&json, encoding).unwrap())[..], &json[..]);
            }
        }
    }
}
