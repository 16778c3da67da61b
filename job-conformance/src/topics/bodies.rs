//! Bodies arrive byte for byte, whatever they hold.

use bytes::Bytes;
use job_core::backend::{ErrorKind, Outgoing};

use crate::fixture::Fixture;
use crate::promise::{self, Kept, ensure};

/// A body may be empty.
pub async fn an_empty_body_arrives(t: &Fixture) {
    round_trip(t, [b""]).await;
}

/// Every byte value, in both orders.
pub async fn every_byte_value_arrives(t: &Fixture) {
    let up: Vec<u8> = (0..=255).collect();
    let down: Vec<u8> = (0..=255).rev().collect();
    round_trip(t, [up, down]).await;
}

/// Text of every kind.
pub async fn text_arrives_as_it_was(t: &Fixture) {
    round_trip(
        t,
        [
            "grüße, 世界, 🦀, e\u{301}, \u{feff}bom, \u{fffd}, \u{10ffff}",
            "  spaces around  ",
            "\r\nline\r\nends\n\r",
            "{\"json\": \"\\u0000\", \"n\": 1e400}",
        ],
    )
    .await;
}

/// Control characters, of which XML forbids most.
pub async fn control_characters_arrive(t: &Fixture) {
    round_trip(
        t,
        ["\0", "a\0b", "\u{1}\u{8}\u{b}\u{c}\u{e}\u{1f}", "\u{7f}\u{85}\u{fffe}\u{ffff}"],
    )
    .await;
}

/// Bytes that are no UTF-8.
pub async fn invalid_utf8_arrives(t: &Fixture) {
    let bodies: [&[u8]; 5] =
        [b"\xff", b"\xc3\x28", b"\xed\xa0\x80", b"text \xf0\x9f\xa6", b"\xef\xbb\xbf\xff\xfe"];
    round_trip(t, bodies).await;
}

/// Bodies that a codec may take for its own.
pub async fn bodies_that_look_encoded_arrive(t: &Fixture) {
    round_trip(
        t,
        [
            "aGVsbG8=",
            "aGVsbG8",
            "====",
            "68656c6c6f",
            "%20%00+",
            "&lt;a&gt;&amp;&#0;",
            "<QueueMessage><MessageText>x</MessageText></QueueMessage>",
            "<![CDATA[x]]>]]>",
            "null",
        ],
    )
    .await;
}

/// A body of exactly the limit, whatever it holds.
pub async fn the_longest_body_arrives(t: &Fixture) {
    let len = t.capabilities().max_body;
    round_trip(t, [b'a', b'<', b'"', 0, 0xff].map(|byte| vec![byte; len])).await;
}

/// A body over every limit is refused, and nothing of it is stored.
pub async fn a_body_over_the_limit_is_too_large(t: &Fixture) {
    // The limit is what is accepted whatever it holds; a little more may be accepted too.
    let large = vec![b'x'; t.capabilities().max_body * 4];
    let sent = t.try_send(Outgoing::new(large)).await;
    sent.refused(ErrorKind::TooLarge, promise::TOO_LARGE);
    t.expect_nothing(promise::TOO_LARGE).await;
}

/// A body is the same on every delivery.
pub async fn a_body_is_the_same_every_time(t: &Fixture) {
    let body: Vec<u8> = (0..=255).collect();
    t.send(body.clone()).await;
    for round in 0..3 {
        let delivery = t.take().await;
        ensure!(delivery.body == body, promise::BODY_KEPT, "it differs in round {round}");
        t.release(&delivery.receipt, std::time::Duration::ZERO).await.kept(promise::RELEASE);
    }
}

/// A rewrite may put in any bytes too.
pub async fn a_body_is_rewritten_byte_for_byte(t: &Fixture) {
    t.send("first").await;
    let every: Vec<u8> = (0..=255).rev().collect();
    let longest = vec![0xff; t.capabilities().max_body];
    for body in [every, Vec::new(), b"&lt;aGVsbG8=\0".to_vec(), longest] {
        let held = t.take().await.receipt;
        let replaced = t.replace(&held, body.clone(), std::time::Duration::ZERO).await;
        replaced.kept(promise::TOO_LARGE);
        let delivery = t.take().await;
        ensure!(delivery.body == body, promise::BODY_KEPT, "a body of {} bytes", body.len());
        t.release(&delivery.receipt, std::time::Duration::ZERO).await.kept(promise::RELEASE);
    }
}

async fn round_trip<B: AsRef<[u8]>>(t: &Fixture, bodies: impl IntoIterator<Item = B>) {
    for (number, body) in bodies.into_iter().enumerate() {
        let body = Bytes::copy_from_slice(body.as_ref());
        t.send(body.clone()).await;
        let delivery = t.take().await;
        let (was, is) = (body.len(), delivery.body.len());
        ensure!(
            delivery.body == body,
            promise::BODY_KEPT,
            "body {number} of {was} bytes came with {is}, or others"
        );
        t.delete(&delivery.receipt).await.kept(promise::STAYS);
    }
}
