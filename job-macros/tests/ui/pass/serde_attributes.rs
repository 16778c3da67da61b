//! `#[serde(..)]` on the function goes to the struct, on a parameter to the field.
use job_core::{JobError, job};

#[job]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
async fn charge(
    account_id: u64,
    #[serde(default = "one")] how_many: u32,
    #[serde(skip_serializing_if = "Option::is_none")] note: Option<String>,
) -> Result<(), JobError> {
    let _ = (account_id, how_many, note);
    Ok(())
}

fn one() -> u32 {
    1
}

fn main() {
    let _ = Charge { account_id: 1, how_many: 2, note: None };
}
