//! Versions, upgrades, aliases, and a name for the struct.
use job_core::prelude::*;

#[job(name = "send")]
struct SendV1 {
    to: String,
}

#[job(name = "send", version = 2, upgrade = v2::from_v1)]
struct SendV2 {
    to: Vec<String>,
}

mod v2 {
    pub(super) fn from_v1(old: super::SendV1) -> super::SendV2 {
        super::SendV2 { to: vec![old.to] }
    }
}

#[job(version = 3, upgrade = from_v2, alias = "send_mail", alias = ["mail"], args = SendArgs)]
async fn send(to: Vec<String>, copies: u32) -> Result<(), JobError> {
    let _ = (to, copies);
    Ok(())
}

fn from_v2(old: SendV2) -> Result<SendArgs, std::num::TryFromIntError> {
    Ok(SendArgs { copies: old.to.len().try_into()?, to: old.to })
}

fn main() {
    assert_eq!((SendV1::VERSION, SendV2::VERSION, SendArgs::VERSION), (1, 2, 3));
    assert_eq!(SendArgs::ALIASES, ["send_mail", "mail"]);
    assert_eq!(SendArgs::NAME, SendV2::NAME);
}
