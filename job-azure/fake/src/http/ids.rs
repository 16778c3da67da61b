//! Ids and receipts as they look on the wire.

use base64::Engine;
use base64::engine::general_purpose::STANDARD;

/// What every receipt begins with.
const RECEIPT: [u8; 12] = [2, 0, 0, 0, 3, 0, 0, 0, 0, 0, 0, 0];

/// A number as a UUID. Those of neighbouring numbers have nothing in common to the eye.
pub(super) fn uuid(number: u64) -> String {
    let [high, low] = [scramble(number), scramble(!number)];
    format!(
        "{:08x}-{:04x}-4{:03x}-8{:03x}-{:012x}",
        high >> 32,
        high >> 16 & 0xffff,
        high & 0xfff,
        low & 0xfff,
        number & 0xffff_ffff_ffff,
    )
}

/// The reverse of [`uuid`].
pub(super) fn number(uuid: &str) -> Option<u64> {
    let number = u64::from_str_radix(uuid.rsplit('-').next()?, 16).ok()?;
    (self::uuid(number) == uuid).then_some(number)
}

/// A receipt's number in base64, whose `+`, `/` and `=` a client has to encode in a URL.
pub(super) fn receipt(number: u64) -> String {
    let mut bytes = RECEIPT.to_vec();
    bytes.extend(scramble(number).to_le_bytes());
    STANDARD.encode(bytes)
}

/// The reverse of [`receipt`].
pub(super) fn receipt_number(receipt: &str) -> Option<u64> {
    let bytes = STANDARD.decode(receipt).ok()?;
    let scrambled = bytes.strip_prefix(&RECEIPT)?.try_into().ok()?;
    Some(unscramble(u64::from_le_bytes(scrambled)))
}

/// Odd, so that multiplying by it can be undone.
const FACTOR: u64 = 0x9e37_79b9_7f4a_7c15;
/// `FACTOR * INVERSE == 1`, modulo 2^64.
const INVERSE: u64 = 0xf1de_83e1_9937_733d;

fn scramble(number: u64) -> u64 {
    let number = number.wrapping_mul(FACTOR);
    number ^ number >> 32
}

fn unscramble(number: u64) -> u64 {
    (number ^ number >> 32).wrapping_mul(INVERSE)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn ids_and_receipts_come_back_as_they_went() {
        assert_eq!(FACTOR.wrapping_mul(INVERSE), 1);
        for wanted in [0, 1, 2, 3, 1 << 20, (1 << 48) - 1] {
            assert_eq!(number(&uuid(wanted)), Some(wanted));
            assert_eq!(uuid(wanted).len(), 36);
            assert_eq!(receipt_number(&receipt(wanted)), Some(wanted));
        }
        let receipts: String = (0..100).map(receipt).collect();
        assert!(receipts.contains('+') && receipts.contains('/') && receipts.contains('='));
    }

    #[test]
    fn what_was_never_given_is_no_id() {
        assert_eq!(number("00000000-0000-4000-8000-000000000001"), None);
        assert_eq!(number(""), None);
        assert_eq!(receipt_number("nonsense"), None);
        assert_eq!(receipt_number("AAAA"), None);
    }
}
