//! Values and errors as the kit's messages show them.

use std::error::Error;

use serde::Serialize;
use serde_json::Value;

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
        (Value::Number(a), Value::Number(b)) => a == b || a.as_f64() == b.as_f64(),
        (Value::Array(a), Value::Array(b)) => {
            a.len() == b.len() && a.iter().zip(b).all(|(a, b)| same(a, b))
        }
        (Value::Object(a), Value::Object(b)) => {
            a.len() == b.len() && a.iter().all(|(key, a)| b.get(key).is_some_and(|b| same(a, b)))
        }
        _ => a == b,
    }
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
    }
}
