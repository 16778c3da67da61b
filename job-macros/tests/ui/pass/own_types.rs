//! Args of types whose serde impls are the app's, with all that serde's attributes can do.
#![deny(warnings, missing_docs, unreachable_pub, missing_debug_implementations)]
#![allow(dead_code)]

use std::collections::HashMap;
use std::time::Duration;

use job_core::job;
use serde::{Deserialize, Deserializer, Serialize, Serializer};

#[derive(Serialize, Deserialize, Default)]
struct Address {
    city: String,
}

#[derive(Serialize, Deserialize)]
enum Kind {
    One,
    Two(u8),
}

/// Neither `Serialize` nor `Default` is asked of what serde does not touch.
#[job]
#[serde(rename_all = "camelCase")]
async fn send(
    address: Address,
    other_address: Option<Address>,
    #[serde(default)] copies: Vec<Address>,
    by_name: HashMap<String, Address>,
    #[serde(default = "kind", alias = "type")] kind: Kind,
    #[serde(with = "millis")] after: Duration,
    #[serde(skip)] _local: Option<NotSerdeEither>,
    nested: Box<Option<(Kind, [Address; 2])>>,
    #[serde(rename = "std")] text: std::string::String,
) -> Result<(), std::io::Error> {
    drop((address, other_address, copies, by_name, kind, after, nested, text));
    Ok(())
}

struct NotSerdeEither;

fn kind() -> Kind {
    Kind::One
}

mod millis {
    use super::*;

    pub(super) fn serialize<S: Serializer>(at: &Duration, to: S) -> Result<S::Ok, S::Error> {
        (at.as_millis() as u64).serialize(to)
    }

    pub(super) fn deserialize<'de, D: Deserializer<'de>>(from: D) -> Result<Duration, D::Error> {
        u64::deserialize(from).map(Duration::from_millis)
    }
}

/// A message.
#[job]
#[derive(Clone)]
struct Tree {
    children: Vec<Tree>,
    #[serde(flatten)]
    more: HashMap<String, u8>,
}

#[job]
struct Private {
    address: Address,
}

macro_rules! of_type {
    ($($name:ident: $ty:ty),*) => {$(
        #[job]
        async fn $name(what: $ty, again: Option<$ty>) -> Result<(), std::io::Error> {
            let _ = (what, again);
            Ok(())
        }
    )*};
}

of_type!(of_address: Address, of_number: u8, of_list: Vec<Kind>);

fn check<J: job_core::Job>() {}

fn main() {
    check::<Send>();
    check::<Tree>();
    check::<Private>();
    check::<OfAddress>();
}
