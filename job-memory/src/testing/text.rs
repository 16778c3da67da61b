//! Values and errors as the kit's messages show them.

use std::error::Error;

use serde::Serialize;
use serde_json::{Number, Value};

/// A value as the JSON that it would travel as.
pub(super) fn json<T: Serialize + ?Sized>(value: &T) -> Value {
    match serde_json::to_value(value) {
        Ok(json) => json,
        Err(error) => panic!("a value of the assertion cannot be written as JSON: {error}"),
    }
}

/// Whether both say the same. `7` and `7.0` do: a literal has the type that its reader knows.
pub(super) fn same(a: &Value, b: &Value) -> bool {
    match (a, b) {
        (Value::Number(a), Value::Number(b)) => a == b || same_number(a, b),
        (Value::Array(a), Value::Array(b)) => {
            a.len() == b.len() && a.iter().zip(b).all(|(a, b)| same(a, b))
        }
        (Value::Object(a), Value::Object(b)) => {
            a.len() == b.len() && a.iter().all(|(key, a)| b.get(key).is_some_and(|b| same(a, b)))
        }
        _ => a == b,
    }
}

/// Whether numbers that are written in different ways are the same by value.
fn same_number(a: &Number, b: &Number) -> bool {
    // As floats, large integers are the same as their neighbours.
    if !a.is_f64() && !b.is_f64() {
        return false;
    }
    let (Some(a), Some(b)) = (a.as_f64(), b.as_f64()) else { return false };
    a == b || ((was_f32(a) || was_f32(b)) && a as f32 == b as f32)
}

/// Whether it is what an `f32` such as 0.1 becomes when it is made longer.
fn was_f32(long: f64) -> bool {
    let short = long as f32;
    f64::from(short) == long && short.to_string() != long.to_string()
}

/// An error with its causes in one line.
pub(super) fn chain(error: &dyn Error) -> String {
    let mut text = error.to_string();
    let mut cause = error.source();
    while let Some(inner) = cause {
        let inner_text = inner.to_string();
        if !text.contains(&inner_text) {
            text.push_str(": ");
            text.push_str(&inner_text);
        }
        cause = inner.source();
    }
    text
}

#[cfg(test)]
mod tests {
    use serde_json::json as v;

    use super::*;

    #[test]
    fn numbers_are_the_same_by_value_and_texts_are_not_numbers() {
        assert!(same(&v!({"a": [7, "x"]}), &v!({"a": [7.0, "x"]})));
        assert!(!same(&v!(7), &v!("7")));
        assert!(!same(&v!(7), &v!(8)));
        assert!(!same(&v!({"a": 1}), &v!({"a": 1, "b": 2})));
        assert!(!same(&v!([1]), &v!([1, 2])));
        // Too large for a float to tell apart.
        assert!(same(&v!(u64::MAX), &v!(u64::MAX)));
        assert!(!same(&v!(u64::MAX), &v!(u64::MAX - 1)));
        assert!(!same(&v!(i64::MIN), &v!(i64::MIN + 1)));
    }

    #[test]
    fn a_literal_is_the_same_as_the_f32_that_it_was_written_for() {
        assert!(same(&v!(0.1_f32), &v!(0.1)));
        assert!(same(&v!(7.123_456_789_012), &v!(7.123_457_f32)));
        assert!(!same(&v!(0.1_f32), &v!(0.100_001)));
        // No f32 had its hand in these.
        assert!(!same(&v!(100.0), &v!(100.000_000_1)));
        assert!(!same(&v!(0.1), &v!(0.100_000_000_001)));
    }
}
